"""The installation: Python, barback, and what its extras need."""

from __future__ import annotations

import platform
import re
from importlib.metadata import PackageNotFoundError, requires, version
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

    from barback.cli.doctor.findings import Findings

__all__ = ["EXTRA_OF_STORE", "look_at_installation"]

EXTRA_OF_STORE: Final = {"redis": "redis", "mongodb": "mongo", "postgres": "postgres"}
"""Which extra a store needs, by its name."""

REQUIREMENT: Final = re.compile(
    r"""(?P<name>[\w.-]+)(\[[\w,.\s-]*\])?\s*(>=\s*(?P<least>[\d.]+))?[^;]*"""
    r"""(;.*extra\s*==\s*['"](?P<extra>[\w-]+)['"])?"""
)


class _Needed(NamedTuple):
    name: str
    least: str
    extra: str


def look_at_installation(findings: Findings, needed: Iterable[str]) -> None:
    """See what is installed, and that it is what the extras `needed` need."""
    findings.ok("python", f"{platform.python_version()} on {platform.system()}")
    try:
        findings.ok("barback", version("barback"))
        needs = [_parsed(each) for each in requires("barback") or ()]
    except PackageNotFoundError:
        findings.warn("barback", "It is not installed, only found.", "Install it with pip.")
        return
    wanted = {"", *needed}
    for extra in sorted({need.extra for need in needs}):
        _look_at_extra(
            findings, extra, [need for need in needs if need.extra == extra], extra in wanted
        )


def _look_at_extra(findings: Findings, extra: str, needs: list[_Needed], wanted: bool) -> None:  # noqa: FBT001
    what, install = extra or "packages", f"python -m pip install -U 'barback[{extra}]'"
    if not extra:
        install = "python -m pip install -U barback"
    found: list[str] = []
    missing: list[str] = []
    old: list[str] = []
    for need in needs:
        try:
            there = version(need.name)
        except PackageNotFoundError:
            missing.append(need.name)
            continue
        found.append(f"{need.name} {there}")
        if _numbers(there) < _numbers(need.least):
            old.append(f"{need.name} {there} is older than {need.least}")
    if missing and wanted:
        findings.fail(what, f"There is no {', '.join(missing)}.", install)
    elif old:
        findings.fail(what, f"{'; '.join(old)}.", install)
    elif not missing:
        findings.ok(what, ", ".join(found))


def _parsed(requirement: str) -> _Needed:
    found = REQUIREMENT.match(requirement)
    assert found is not None  # noqa: S101 - a requirement begins with a name
    return _Needed(found["name"], found["least"] or "0", found["extra"] or "")


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(each) for each in re.findall(r"\d+", text.split("+", maxsplit=1)[0])[:3])
