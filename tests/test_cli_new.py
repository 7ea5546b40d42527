"""`barback new`: a project that runs and passes its tests, as whoever made it finds it."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from barback.cli import main
from tests.test_cli import ROOT

if TYPE_CHECKING:
    from collections.abc import Sequence


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """That of a new virtual environment, in which is what is installed here, and nothing more."""
    folder = tmp_path_factory.mktemp("venv") / ".venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    made = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    found = subprocess.run(
        [made, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        check=True,
        capture_output=True,
        text=True,
    )
    here = [str(ROOT / "src"), sysconfig.get_path("purelib"), sysconfig.get_path("platlib")]
    Path(found.stdout.strip(), "here.pth").write_text("\n".join(dict.fromkeys(here)))
    return made


def run(
    python: Path, folder: Path, *arguments: str, **options: Any
) -> subprocess.CompletedProcess[str]:
    """In that environment, and no other's."""
    kept = {
        "PATH",
        "HOME",
        "LANG",
        "COVERAGE_PROCESS_START",
        "COVERAGE_PROCESS_CONFIG",
        "SYSTEMROOT",
    }
    environment = {each: os.environ[each] for each in kept if each in os.environ}
    return subprocess.run(
        [str(python), *arguments],
        cwd=folder,
        env={**environment, **options.pop("env", {})},
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
        **options,
    )


def test_a_bot_in_the_terminal_runs_and_passes_its_tests(python: Path, tmp_path: Path) -> None:
    made = run(python, tmp_path, "-m", "barback", "new", "corner-shop")
    assert (made.returncode, made.stderr) == (0, "")
    folder = tmp_path / "corner-shop"
    assert {str(each.relative_to(folder)) for each in folder.rglob("*") if each.is_file()} == {
        ".gitignore",
        "README.md",
        "corner_shop.py",
        "pyproject.toml",
        "tests/test_corner_shop.py",
    }
    tested = run(python, folder, "-m", "pytest", "-q", "-p", "no:cacheprovider")
    assert tested.returncode == 0, tested.stdout
    assert "2 passed" in tested.stdout
    assert not (folder / "sessions.db").exists()  # tests leave people's sessions alone
    talked = run(python, folder, "corner_shop.py", input="Hi\nTim\nHi\n")
    assert talked.returncode == 0, talked.stderr
    assert talked.stdout.splitlines()[-1].endswith("Welcome back, Tim")
    told = run(python, folder, "-m", "barback", "doctor", "corner_shop:bot")
    assert told.returncode == 0, told.stdout
    assert "opened in" in told.stdout


def test_a_bot_on_a_platform_does_too(python: Path, tmp_path: Path) -> None:
    assert run(
        python, tmp_path, "-m", "barback", "new", "shop", "--channel", "telegram"
    ).stdout == ("shop is there: README.md tells how to go on.\n")
    folder = tmp_path / "shop"
    tested = run(python, folder, "-m", "pytest", "-q", "-p", "no:cacheprovider")
    assert "2 passed" in tested.stdout
    doctor = ("-m", "barback", "doctor", "shop:bot", "--channel", "telegram", "--offline")
    told = run(python, folder, *doctor)
    assert told.returncode == 1
    assert "The environment has no TELEGRAM_TOKEN" in told.stdout
    told = run(python, folder, *doctor, env={"TELEGRAM_TOKEN": "123456:abc"})
    assert told.returncode == 0, told.stdout
    polls = run(python, folder, "shop.py")
    assert "The environment has no TELEGRAM_TOKEN" in polls.stderr


def test_what_is_made_can_be_installed_and_is_laid_out_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, options in (("shop", ()), ("bar", ("--channel", "telegram"))):
        assert main(["new", name, *options]) == 0
        project = tomllib.loads((tmp_path / name / "pyproject.toml").read_text())
        assert project["project"]["name"] == name
        assert project["tool"]["setuptools"]["py-modules"] == [name]
        for tool in (("format", "--check"), ("check",)):
            assert subprocess.call([sys.executable, "-m", "ruff", *tool, "-q", name]) == 0
        assert "@" not in (tmp_path / name / "README.md").read_text()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["Shop"], "A name is small letters"),
        (["a/b"], "A name is small letters"),
        (["../shop"], "A name is small letters"),
        (["json"], "would hide another"),
        (["class"], "would hide another"),
        (["barback"], "would hide another"),
        (["there"], "There is a there already"),
        (["shop", "--channel", "nonsense"], "There is no channel 'nonsense'"),
    ],
)
def test_nothing_is_written_over_and_no_name_hides_another(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: Sequence[str],
    said: str,
) -> None:
    (tmp_path / "here" / "there").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here")
    assert main(["new", *arguments]) == 2
    assert said in capsys.readouterr().err
    assert [each.name for each in tmp_path.rglob("*")] == ["here", "there"]
