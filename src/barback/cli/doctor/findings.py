"""Findings: what is as it should be, what is not, and what to do about it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final, Literal

import msgspec

from barback.cli.words import printable, tell
from barback.extras import needs_extra

with needs_extra("cli"):
    import click

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Finding", "Findings"]

Level = Literal["ok", "warn", "fail"]

COLOURS: Final[dict[Level, str]] = {"ok": "green", "warn": "yellow", "fail": "red"}


class Finding(msgspec.Struct, frozen=True):
    """One of them: `what` was looked at, what it `says`, and what to do."""

    level: Level
    what: str
    says: str
    advice: str = ""


class Findings:
    """All of them, told one by one, or in the end as JSON."""

    def __init__(self, *, as_json: bool) -> None:
        self._found: list[Finding] = []
        self._as_json = as_json

    def ok(self, what: str, says: str) -> None:
        """It is as it should be."""
        self._add(Finding("ok", what, says))

    def warn(self, what: str, says: str, advice: str) -> None:
        """It works, and may not do so always."""
        self._add(Finding("warn", what, says, advice))

    def fail(self, what: str, says: str, advice: str = "") -> None:
        """It does not work."""
        self._add(Finding("fail", what, says, advice))

    def count(self, level: Level) -> int:
        """How many there are of a level."""
        return sum(finding.level == level for finding in self._found)

    def end(self) -> int:
        """Tell what is left to be told; the exit status."""
        failed, warned = self.count("fail"), self.count("warn")
        if self._as_json:
            told = msgspec.to_builtins(self._found)
            tell(json.dumps({"ok": not failed, "findings": told}, indent=2))
        else:
            tell(f"\n{self.count('ok')} ok, {warned} to think about, {failed} to be put right.")
        return int(failed > 0)

    def _add(self, finding: Finding) -> None:
        self._found.append(finding)
        if not self._as_json:
            for line in _lines(finding):
                tell(line)


def _lines(finding: Finding) -> Sequence[str]:
    mark = click.style(f"{finding.level:<4}", fg=COLOURS[finding.level])
    lines = [f"{mark}  {finding.what:<12}  {printable(finding.says)}"]
    if finding.advice:
        lines.append(f"{'':<20}-> {printable(finding.advice)}")
    return lines
