"""The `barback` command, run as a person would run it."""

from __future__ import annotations

import asyncio
import io
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from barback import FileSessionStore, MemorySessionStore, Record, SessionUnreadable
from barback.cli.progress import Progress
from barback.cli.words import complain, shown
from barback.stores.copying import copy_store
from barback.testing.contract_tools import leased, put

ROOT = Path(__file__).parent.parent

# A driver of somebody else's, found by its entry point as theirs are: the file store, slowly.
SLOW_STORE = '''
import asyncio, sys
from barback import SessionStoreUnavailable, open_store
from barback.stores.local import leased
from tests.scripted import ScriptedStore

class SlowStore(ScriptedStore):
    """slow://…@host/folder?after=N: from the Nth commit on, a commit takes its time, or fails."""
    name = "slow"

    @classmethod
    def from_url(cls, url):
        address, _, after = url.partition("?after=")
        store = cls(leased(open_store("file:" + address.partition("host/")[2])))
        store.after, _, store.fails = after.partition("&")
        return store

    async def init(self):
        self.begun = 0
        await self.inner.acquire()
        return self

    async def close(self):
        await self.inner.relinquish()

    async def commit(self, record, lease, *, keep=False):
        self.begun += 1
        if self.begun > int(self.after or 1_000_000):
            if self.fails:
                raise SessionStoreUnavailable("The slow store is down.")
            print("slow now", file=sys.stderr, flush=True)
            await asyncio.sleep(0.5)
        await super().commit(record, lease, keep=keep)

    @staticmethod
    def ddl():
        return "CREATE TABLE slow (id text);"
'''


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for PYTHONPATH with an installed distribution that has the slow store."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "slow_store.py").write_text(SLOW_STORE)
    about = folder / "slow_store-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: slow-store\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[barback.stores]\nslow = slow_store:SlowStore\n")
    return folder


def environment(driver: Path | None) -> dict[str, str]:
    paths = [str(driver or ""), str(ROOT), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths)), "COLUMNS": "100"}


def barback(
    *arguments: str | Path, driver: Path | None = None, code: str | None = None
) -> subprocess.CompletedProcess[str]:
    how = ["-m", "barback"] if code is None else ["-c", code]
    return subprocess.run(
        [sys.executable, *how, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env=environment(driver),
    )


def started(*arguments: str, driver: Path, **options: Any) -> subprocess.Popen[str]:
    def listen_to_ctrl_c() -> None:  # a shell's background jobs ignore it, and so do their children
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    return subprocess.Popen(
        [sys.executable, "-m", "barback", *arguments],
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, **options},
        env=environment(driver),
        preexec_fn=listen_to_ctrl_c,  # noqa: PLW1509 - the test has no threads at work
    )


async def many(folder: Path, count: int = 150) -> dict[str, Record]:
    """Sessions in files; what they are."""
    source = MemorySessionStore(max_size=count)
    records = [await put(source, f"test:{number}", {"n": number}) for number in range(count)]
    await copy_store(source, FileSessionStore(folder))
    return {record.id: record for record in records}


async def content(folder: Path) -> dict[str, Record]:
    async with leased(FileSessionStore(folder)) as opened:
        return {record.id: record async for record in opened.all()}


# The command itself.


def test_the_command_tells_its_version_and_its_commands() -> None:
    assert re.fullmatch(r"barback \d+\.\d+\.\d+\n", barback("--version").stdout)
    told = barback("--help")
    assert told.returncode == 0
    assert re.search("store +Copy and prepare stores of sessions[.]", told.stdout)
    told = barback("store", "copy", "-h")
    assert told.returncode == 0
    for word in ("SOURCE TARGET", "--prefix", "--replace", "--no-verify", "redis://host:6379/0"):
        assert word in told.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "Usage: barback"),
        (["nonsense"], "No such command 'nonsense'. See barback --help."),
        (["store", "copy", "file:a"], "Missing argument 'TARGET'. See barback store copy --help."),
        (["store", "copy", "memory://", "file:a", "--nonsense"], "No such option"),
        (["store", "copy", "nonsense", "file:a"], "starts with its kind"),
        (["store", "copy", "nonsense:", "file:a"], "No store serves URLs of the kind 'nonsense'"),
        (["store", "copy", "memory://?size=1", "file:a"], "A memory store has no option 'size'"),
        (["store", "copy", "file:a", "file:a"], "The two stores are the same"),
        (["store", "init", "nonsense:"], "No store serves URLs of the kind 'nonsense'"),
    ],
)
def test_a_command_line_that_is_wrong_ends_with_status_2(arguments: list[str], said: str) -> None:
    done = barback(*arguments)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert not Path("a").exists()


def test_without_click_the_command_says_how_to_install_it() -> None:
    code = "import sys; sys.modules['click'] = None\nfrom barback.cli import main; sys.exit(main())"
    done = barback("--version", code=code)
    assert done.returncode == 2
    assert done.stderr == (
        "This needs an extra. Install it with: python -m pip install 'barback[cli]'\n"
    )


def test_a_group_of_commands_is_loaded_when_it_is_asked_for() -> None:
    code = """if True:
        import sys
        from barback.cli import main
        assert main(["--help"]) == 0
        assert "barback.cli.store" not in sys.modules
        assert main(["store", "--help"]) == 0
        assert "barback.cli.store" in sys.modules
    """
    done = barback(code=code)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("barback r", {"run"}),
        ("barback sessions ex", {"expire", "export", "export-user"}),
        ("barback sessions delete --old", {"--older-than"}),
        ("barback sessions forget tim --shared ", {"leave_out", "destroy", "keep"}),
    ],
)
def test_a_shell_completes_commands_though_an_extra_is_missing(words: str, found: set[str]) -> None:
    code = "import sys; sys.modules['uvicorn'] = None\nfrom barback.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env={
            **environment(None),
            "_BARBACK_COMPLETE": "bash_complete",
            "COMP_WORDS": words,
            "COMP_CWORD": str(words.count(" ")),
        },
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert {line.split(",")[1] for line in done.stdout.splitlines()} == found


# Copy.


async def test_a_copy_ends_with_a_sentence_and_may_be_repeated(tmp_path: Path) -> None:
    records = await many(tmp_path / "a")
    source, target = f"file:{tmp_path}/a", f"file:{tmp_path}/b"
    done = barback("store", "copy", source, target)
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(
        re.escape(f"{source} to {target}: 150 sessions copied, in ") + r"\d+\.\d s\.\n", done.stdout
    )
    assert records == await content(tmp_path / "b")
    done = barback("store", "copy", source, target, "--no-verify")
    assert (done.returncode, done.stderr) == (0, "")
    assert "0 sessions copied, 150 already there, in" in done.stdout


async def test_a_prefix_chooses_what_is_copied(tmp_path: Path) -> None:
    await many(tmp_path / "a", 20)
    done = barback(
        "store", "copy", f"file:{tmp_path}/a", f"file:{tmp_path}/b", "--prefix", "test:1"
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert set(await content(tmp_path / "b")) == {"test:1", *(f"test:{n}" for n in range(10, 20))}


async def test_conflicts_are_named_and_may_be_replaced(tmp_path: Path) -> None:
    theirs = await many(tmp_path / "b", 25)
    records = await many(tmp_path / "a", 30)
    async with leased(FileSessionStore(tmp_path / "a")) as store:
        await put(store, "test:\x1b[31mred")
    async with leased(FileSessionStore(tmp_path / "b")) as store:
        await put(store, "test:\x1b[31mred")
    copy = ("store", "copy", f"file:{tmp_path}/a", f"file:{tmp_path}/b")

    done = barback(*copy)
    assert done.returncode == 1
    assert "5 sessions copied, 26 in conflict" in done.stdout
    assert re.search("The target has another record of 'test:.* and 6 more", done.stderr)
    assert done.stderr.count("\n") == 1
    assert "\x1b" not in done.stderr + done.stdout
    assert theirs["test:3"] == (await content(tmp_path / "b"))["test:3"]

    done = barback(*copy, "--replace")
    assert (done.returncode, done.stderr) == (0, "")
    assert "26 sessions copied (26 in place of another), 5 already there" in done.stdout
    assert records.items() <= (await content(tmp_path / "b")).items()


async def test_unreadable_sessions_are_told_after_the_others_are_copied(tmp_path: Path) -> None:
    await many(tmp_path / "a", 10)
    [path] = (tmp_path / "a").glob("test_3-*.json")
    path.write_bytes(path.read_bytes()[:-20])
    done = barback("store", "copy", f"file:{tmp_path}/a", f"file:{tmp_path}/b")
    assert done.returncode == 1
    assert "9 sessions copied" in done.stdout
    assert "cannot be read" in done.stderr
    assert "Traceback" not in done.stderr
    assert len(await content(tmp_path / "b")) == 9
    with pytest.raises(SessionUnreadable):
        await content(tmp_path / "a")


async def test_a_target_that_fails_is_told_with_what_was_done_so_far(
    tmp_path: Path, driver: Path
) -> None:
    records = await many(tmp_path / "a")
    source, target = f"file:{tmp_path}/a", f"slow://tim:s3cret@host/{tmp_path}/b"
    done = barback("store", "copy", source, f"{target}?after=40&fails", driver=driver)
    assert done.returncode == 1
    assert done.stderr == (
        "The slow store is down.\nRun it again to go on with what is not there yet.\n"
    )
    assert re.search(r"to slow://\*\*\*@host/.*: \d+ sessions copied, in", done.stdout)
    assert "s3cret" not in done.stdout
    done = barback("store", "copy", source, target, driver=driver)
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search("[1-9][0-9]* already there", done.stdout)
    assert records == await content(tmp_path / "b")


async def test_a_store_that_cannot_be_opened_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    for command in (["copy", "memory://"], ["init"]):
        done = barback("store", *command, f"file:{tmp_path}/file")
        assert done.returncode == 1
        assert str(tmp_path / "file") in done.stderr
        assert done.stderr.count("\n") == 1
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize("source", ["file:nosuch", "sqlite:///nosuch.db"])
def test_a_mistyped_source_is_not_made(
    source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = barback("store", "copy", source, "file:out")
    assert done.returncode == 1
    assert str(tmp_path / "nosuch") in done.stderr
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_source_with_no_sessions_is_told_unless_a_prefix_chose_them(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    copy = ("store", "copy", f"file:{tmp_path}/empty?expires_in=3", f"file:{tmp_path}/out")
    done = barback(*copy)
    assert done.returncode == 1
    assert done.stderr == (
        f"file:{tmp_path}/empty?*** has no sessions. See whether it is the one that was meant.\n"
    )
    assert "0 sessions copied" in done.stdout
    done = barback(*copy, "--prefix", "shop/")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["SIGINT", "SIGTERM"]
)
async def test_an_interrupted_copy_is_taken_up_again(
    tmp_path: Path, driver: Path, number: signal.Signals, status: int
) -> None:
    records = await many(tmp_path / "a", 300)
    source, target = f"file:{tmp_path}/a", f"slow://host/{tmp_path}/b"
    with started("store", "copy", source, f"{target}?after=100", driver=driver) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == "slow now\n"
        process.send_signal(number)
        said, complained = process.communicate(timeout=60)
    assert process.returncode == status, complained
    assert complained.splitlines()[-1] == (
        "Interrupted. Run it again to go on with what is not there yet."
    )
    assert "Traceback" not in complained
    [copied] = re.findall(r": (\d+) sessions copied, in", said)
    there = await content(tmp_path / "b")
    assert int(copied) == len(there)
    assert 100 <= len(there) < 300
    assert there.items() <= records.items()

    done = barback("store", "copy", source, target, driver=driver)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"{300 - len(there)} sessions copied, {len(there)} already there" in done.stdout
    assert records == await content(tmp_path / "b")


# Where nobody can be told.


full = pytest.mark.skipif(not Path("/dev/full").exists(), reason="has no device that is full")
NO_ROOM = "No space left on device.\n"


def redirected(where: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """What comes of the command in a shell, of which the command line goes on with `where`."""
    return subprocess.run(
        ["/bin/bash", "-c", f'"$@" {where}', "-", sys.executable, "-m", "barback", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env=environment(None),
    )


@full
async def test_an_output_with_no_room_is_one_sentence_and_the_work_is_done(tmp_path: Path) -> None:
    records = await many(tmp_path / "a", 20)
    copy = ("store", "copy", f"file:{tmp_path}/a", f"file:{tmp_path}/b")
    done = redirected(">/dev/full", *copy)
    assert (done.returncode, done.stderr) == (1, f"Standard output cannot be written to: {NO_ROOM}")
    assert records == await content(tmp_path / "b")
    async with leased(FileSessionStore(tmp_path / "b")) as store:
        await put(store, "test:3")
    done = redirected(">/dev/full", *copy)
    assert done.returncode == 1
    assert "another record of 'test:3'" in done.stderr
    assert done.stderr.count("\n") == 2
    assert redirected(">/dev/full 2>&1", *copy).returncode == 1
    assert redirected("2>/dev/full", *copy).returncode == 1
    assert redirected(">&- 2>&-", *copy).returncode == 1
    assert redirected("2>/dev/full", *copy, "--replace").returncode == 0


@full
@pytest.mark.parametrize(
    "arguments", [["--help"], ["--version"], ["store", "init", "memory://"]], ids=str
)
def test_no_room_for_an_output_is_one_sentence(arguments: list[str]) -> None:
    done = redirected(">/dev/full", *arguments)
    assert done.returncode == 1
    assert done.stderr.endswith(NO_ROOM)
    assert done.stderr.count("\n") == 1


async def test_the_command_is_quiet_when_nobody_reads_on(tmp_path: Path) -> None:
    records = await many(tmp_path / "a", 20)
    copy = ("store", "copy", f"file:{tmp_path}/a", f"file:{tmp_path}/b")
    for arguments in (copy, ("--help",), ("store", "init", "memory://")):
        reads, writes = os.pipe()
        os.close(reads)
        process = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-m", "barback", *arguments],
            stdout=writes,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            timeout=60,
            env=environment(None),
        )
        os.close(writes)
        assert (process.returncode, process.stderr) == (1, "")
    assert records == await content(tmp_path / "b")


# Progress.


@pytest.mark.skipif(sys.platform == "win32", reason="it has no pseudo-terminals")
async def test_a_terminal_is_shown_a_bar_that_makes_way_for_the_last_sentence(
    tmp_path: Path, driver: Path
) -> None:
    import pty  # noqa: PLC0415 - not everywhere

    await many(tmp_path / "a", 30)
    ours, theirs = pty.openpty()
    copy = ("store", "copy", f"file:{tmp_path}/a", f"slow://host/{tmp_path}/b?after=25")
    process = started(*copy, driver=driver, stdout=theirs, stderr=theirs)
    os.close(theirs)
    said = await asyncio.to_thread(read_all, ours)
    assert process.wait(60) == 0
    assert re.search(r"\r\[ *### *\] \d+ sessions? copied, \d+ a second", said)
    assert "\x1b" not in said
    *bars, last = said.rstrip().split("\n")[-1].split("\r")
    assert re.fullmatch(r"file:.*: 30 sessions copied, in \d+\.\d s\.", last)
    assert bars[-1].strip() == ""
    assert len(bars[-1]) >= max(map(len, bars))


def read_all(terminal: int) -> str:
    """All that is written to it, until nobody can write any more."""
    said = b""
    try:
        while data := os.read(terminal, 65_536):
            said += data
    except OSError:  # how Linux says that it has ended
        pass
    finally:
        os.close(terminal)
    return said.decode()


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_pipe_is_told_now_and_then_in_plain_lines() -> None:
    time = 0.0
    stream = io.StringIO()
    progress = Progress(stream, lambda: time)
    for second in range(25):
        time = float(second)
        progress.tell(f"{second * 100} sessions copied", second * 100)
    progress.end()
    assert stream.getvalue() == (
        "1000 sessions copied, 100 a second\n2000 sessions copied, 100 a second\n"
    )
    assert progress.seconds == 24


def test_a_bar_moves_and_keeps_to_the_terminals_width(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    time = 0.0
    stream = Terminal()
    progress = Progress(stream, lambda: time)
    for tenth in range(100):
        time = tenth / 10
        progress.tell("sessions copied, " + "x" * tenth, tenth)
    drawn = stream.getvalue().split("\r")[1:]
    assert len({line.partition("]")[0] for line in drawn}) == 18
    assert {"[###                 ", "[                 ###"} <= {line[:21] for line in drawn}
    assert max(map(len, drawn)) == 59


def test_a_bar_that_cannot_be_drawn_stops_nothing() -> None:
    class Full(Terminal):
        tries = 0

        def write(self, text: str) -> int:
            self.tries += 1
            raise OSError

    stream = Full()
    progress = Progress(stream)
    for number in range(3):
        progress.tell("sessions copied", number)
    assert stream.tries == 1
    progress.end()


# Init.


def test_init_makes_what_the_store_needs(tmp_path: Path) -> None:
    done = barback("store", "init", f"file:{tmp_path}/sessions?expires_in=30")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"The file store file:{tmp_path}/sessions?*** is ready.\n"
    assert (tmp_path / "sessions").is_dir()


def test_init_prints_sql_where_there_is_any_and_opens_nothing(tmp_path: Path, driver: Path) -> None:
    done = barback("store", "init", f"slow://host/{tmp_path}/a", "--print-sql", driver=driver)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "CREATE TABLE slow (id text);\n"
    done = barback("store", "init", f"file:{tmp_path}/a", "--print-sql")
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == "The file store needs no SQL to be prepared.\n"
    assert not (tmp_path / "a").exists()


def test_init_prints_the_sql_of_postgres() -> None:
    nowhere = "postgresql://tim:s3cret@127.0.0.1:1/shop?table=chats"
    done = barback("store", "init", nowhere, "--print-sql")
    assert (done.returncode, done.stderr) == (0, "")
    assert "CREATE TABLE" in done.stdout
    assert "chats" in done.stdout


@pytest.mark.parametrize("kind", ["redis", "mongodb", "postgresql"])
def test_a_server_that_is_not_there_is_one_sentence_without_the_password(kind: str) -> None:
    done = barback("store", "init", f"{kind}://tim:s3cret@127.0.0.1:1/?connect_timeout=0.5")
    assert (done.returncode, done.stdout) == (1, "")
    assert "127.0.0.1:1" in done.stderr
    assert "s3cret" not in done.stderr
    assert done.stderr.count("\n") == 1


# Secrets.


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("file:.sessions", "file:.sessions"),
        ("file:/a@b/c", "file:/a@b/c"),
        ("memory://", "memory://"),
        ("redis://host:6379/4", "redis://host:6379/4"),
        ("redis://:s3cret@host:6379/4", "redis://***@host:6379/4"),
        ("mongodb://tim:s3cret@a,b/db?authSource=s3cret", "mongodb://***@a,b/db?***"),
        ("mongodb://tim:s3@cret@a/db", "mongodb://***@a/db"),
        ("redis://:s3?cr/et#s3cret@host/4?password=s3cret", "redis://***"),
        ("redis://host/0?password=s3@cret", "redis://***"),
        ("redis://tim:s3@host/0?password=s3@cret", "redis://***"),
        ("redis://:s3#cret@host", "redis://***"),
        ("redis://host/0#s3cret", "redis://host/0#***"),
        ("redis:tim:s3cret@host/0?a=s3cret", "redis:***@host/0?***"),
        ("redis:/tim:s3cret@host/0", "redis:***@host/0"),
        ("file:/a@b/c#d?password=s3@cret", "file:/a@b/c#d?***"),
        ("file:///a@b/c", "file://***@b/c"),
        ("redis://:s3 cret@host", "redis://***@host"),
        ("postgresql://host/db?password=s3cret", "postgresql://host/db?***"),
    ],
)
def test_a_url_is_shown_without_its_secrets(url: str, expected: str) -> None:
    assert shown(url) == expected


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        ("No host in redis://:s3 cr\tet@host/0", "No host in redis://***@host/0"),
        ("redis://:s3 cret@host and redis://:s3cret@other", "redis://***@other"),
        ("redis://host/0?password=s3@cret", "redis://***"),
        ("(redis://host/0?password=s3 cret) is wrong", "(redis://host/0?***"),
        ("host=h password='s3 cret' dbname=x", "host=h password=***"),
        ("host=h password = s3 cret", "host=h password=***"),
        ('{"Password": "s3cret", "user": "x"}', '{"Password"=***'),
        ("api-key=s3cret", "api-key=***"),
        ("SSLPASSWORD=s3cret", "SSLPASSWORD=***"),
        ("access_token=s3 cret", "access_token=***"),
        ("two\nlines, no secret", "two lines, no secret"),
        ("password authentication failed for tim", "password authentication failed for tim"),
    ],
)
def test_an_error_is_told_without_its_secrets(
    error: str, expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    complain(error, "See barback --help.")
    assert capsys.readouterr() == ("", f"{expected} See barback --help.\n")


@pytest.mark.parametrize(
    "arguments",
    [
        ["store", "copy", "redsi://tim:s3cret@host", "file:a"],
        ["store", "copy", "memory://", "file:a", "redis://tim:s3cret@host"],
        ["store", "copy", "memory://tim:s3cret@host", "file:a"],
        ["store", "init", "memory://", "redis://host?password=s3cret"],
        ["redis://tim:s3cret@host"],
        ["store", "init", "slow://tim:s3cret@host/a?password=s3cret", "--print-sql"],
    ],
)
def test_no_error_shows_a_password(arguments: list[str], driver: Path) -> None:
    done = barback(*arguments, driver=driver)
    assert "s3cret" not in done.stdout + done.stderr
    assert (done.stdout + done.stderr).count("\n") == 1
