"""`barback sessions`, called rather than started, on a store with a few sessions."""

from __future__ import annotations

import asyncio
import io
import json
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import pytest

from barback import Record, open_store
from barback.cli import main
from barback.stores.local import leased
from barback.testing.contract_tools import now, put

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

__all__ = ["DAY", "Answer", "Sessions", "filled", "no_terminal"]

DAY = 86_400_000


class Answer(NamedTuple):
    """What a command said, and how it ended."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> list[Any]:
        """Each line of it."""
        return [json.loads(line) for line in self.out.splitlines()]


class Sessions:
    """The command on one store, and what is in that."""

    def __init__(self, url: str, capsys: pytest.CaptureFixture[str]) -> None:
        self.url = url
        self._capsys = capsys

    def __call__(self, command: str, *arguments: str, url: str | None = None) -> Answer:
        self._capsys.readouterr()
        status = main(["sessions", command, *arguments, "--store", url or self.url])
        told = self._capsys.readouterr()
        assert "Traceback" not in told.err
        return Answer(status, told.out, told.err)

    def run(self, work: Callable[[Any], Coroutine[Any, Any, Any]], url: str | None = None) -> Any:
        """Do something with the store, opened."""

        async def opened() -> Any:
            async with leased(open_store(url or self.url)) as store:
                return await work(store)

        return asyncio.run(opened())

    def content(self, url: str | None = None) -> dict[str, Record]:
        async def read(store: Any) -> dict[str, Record]:
            return {record.id: record async for record in store.all()}

        found: dict[str, Record] = self.run(read, url)
        return found

    def put(self, session_id: str, state: dict[str, Any], **fields: Any) -> None:
        self.run(lambda store: put(store, session_id, state, **fields))

    def state(self, session_id: str) -> Any:
        return msgspec.json.decode(self.content()[session_id].state)


def filled(sessions: Sessions) -> Sessions:
    """With sessions that differ in what they can be chosen by."""

    async def fill(store: Any) -> None:
        at = now()
        tim = {"name": "Jürgen", "cart": [{"price": 1}, {"price": 2}], "asking": False}
        await put(store, "telegram:tim", tim, users=("tim",), expires_at=at + 3 * DAY, schema=2)
        await put(store, "telegram:ann", {"n": 1}, last_activity=at - 40 * DAY)
        await put(store, "telegram:old", {"n": 2}, expires_at=at - 1000)
        await put(store, "line:big", {"text": "x" * 5000}, last_activity=at - 2 * DAY)
        await put(store, "shop/line:bob", {"n": 3}, expires_at=at + 400 * DAY)
        await put(store, "unreadable:7f:line:eve", {"n": 4})
        await put(store, "line:od\x1bd", {"\x1b]0;\x07": "\u202e\x9b"})

    sessions.run(fill)
    return sessions


@pytest.fixture
def no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO())
