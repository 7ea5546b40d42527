"""Transcript: what was done on the page, as a test in Python that does it again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from barback.events import Event

__all__ = ["Advanced", "Edited", "Found", "Said", "Transcript"]

CHANNEL = "simulator"
HELD = 100  # columns of a line


class Said(msgspec.Struct, kw_only=True, eq=False):
    """An event, and what came of it.

    - `replies`: what the bot said to it; `error`: the type of what its handler raised, if nobody
      caught that.
    - `group`: of those that were given to the bot at the same time.
    """

    event: Event
    group: int
    replies: list[str] = msgspec.field(default_factory=list)
    error: type[BaseException] | None = None


class Advanced(msgspec.Struct):
    """The clock was moved."""

    minutes: float


class Edited(msgspec.Struct):
    """A session's state was set by hand."""

    session_id: str
    state: dict[str, Any]


class Found(msgspec.Struct):
    """A session was there already when its first event came."""

    session_id: str
    state: dict[str, Any]
    step: str | None = None


Act = Said | Advanced | Edited | Found


class Transcript:
    """What was done, in order; the oldest is let go of where it is more than `most`."""

    def __init__(self, most: int = 2000) -> None:
        self.acts: list[Act] = []
        self._most = most

    def add(self, act: Act) -> None:
        """Something was done."""
        self.acts.append(act)
        del self.acts[: -self._most]

    def put_before(self, said: Said, found: Found) -> None:
        """A session turned out to have been there when that was said."""
        if said in self.acts:
            self.acts.insert(self.acts.index(said), found)

    def as_test(self, name: str, *, typed: bool, client: bool = False) -> str:
        """A module with one test. `name` is the bot's, as in "shop:bot".

        `typed`: whether states are of a class; `client`: whether handlers ask for a client.
        """
        return "\n".join([*Writer(name, self.acts, typed=typed, client=client).module(), ""])


class Writer:
    """Writes a test of what was done."""

    def __init__(self, name: str, acts: Sequence[Act], *, typed: bool, client: bool) -> None:
        self._module, _, self._bot = name.partition(":")
        self._acts = acts
        self._typed = typed
        self._client = client
        ids = [act.event.id for act in acts if isinstance(act, Said)]
        self._repeated = {own for own in ids if ids.count(own) > 1}
        self._names: dict[str, str] = {}

    def module(self) -> Iterator[str]:
        """Its lines."""
        body = list(self._body()) or ["pass"]
        errors = {act.error for act in self._acts if isinstance(act, Said) and act.error}
        yield '"""A conversation that was saved from the playground."""'
        yield ""
        if any("asyncio." in line for line in body):
            yield "import asyncio"
            yield ""
        if errors:
            yield "import pytest"
            yield ""
        yield f"from barback.testing import {'SilentClient, ' if self._client else ''}Simulator"
        for error in sorted(errors, key=str):
            if error.__module__ not in {"builtins", "__main__"}:
                yield f"from {error.__module__} import {error.__name__}"
        yield f"from {self._module} import {self._bot.partition('.')[0]}"
        yield ""
        yield ""
        yield "async def test_conversation() -> None:"
        client = ", client=SilentClient()" if self._client else ""
        yield f"    async with Simulator({self._bot}{client}) as chat:"
        yield from (f"        {line}" for line in body)

    def _body(self) -> Iterator[str]:
        said: list[Said] = []
        for act in self._acts:
            if said and not (isinstance(act, Said) and act.group == said[0].group):
                yield from self._said(said)
                said = []
            if isinstance(act, Said):
                said.append(act)
            elif isinstance(act, Advanced):
                yield f"chat.clock.advance(minutes={act.minutes:g})"
            else:
                yield from self._set(act)
        if said:
            yield from self._said(said)

    def _said(self, said: list[Said]) -> Iterator[str]:
        if len(said) > 1:
            yield from self._together(said)
            return
        (one,) = said
        call = self._call(one)
        if one.error is not None:
            yield f"with pytest.raises({one.error.__name__}):"
            yield f"    await {call}"
            return
        line = f"assert await {call} == {_list(one.replies)}"
        if len(line) + 8 <= HELD:
            yield line
            return
        yield f"assert await {call} == ["
        yield from (f"    {text!r}," for text in one.replies)
        yield "]"

    def _together(self, said: list[Said]) -> Iterator[str]:
        """Several at once: in which order they were handled is the order they are written in."""
        yield "answers = await asyncio.gather("
        yield from (f"    {self._call(one)}," for one in said)
        if any(one.error is not None for one in said):
            yield "    return_exceptions=True,"
        yield ")"
        for number, one in enumerate(said):
            if one.error is not None:
                yield f"assert isinstance(answers[{number}], {one.error.__name__})"
            else:
                yield f"assert answers[{number}] == {_list(one.replies)}"

    def _call(self, said: Said) -> str:
        event = said.event
        pressed = event.payload is not None
        parts = [repr(event.payload if pressed else event.text)]
        parts.append(f"user={'' if event.user is None else event.user.id!r}")
        if event.conversation is not None:
            parts.append(f"conversation={event.conversation!r}")
        if event.id in self._repeated:
            parts.append(f"id={self._short(str(event.id))!r}")
        return f"chat.{'press' if pressed else 'say'}({', '.join(parts)})"

    def _short(self, own: str) -> str:
        """A name for an event that comes more than once."""
        return self._names.setdefault(own, f"event-{len(self._names) + 1}")

    def _set(self, act: Edited | Found) -> Iterator[str]:
        key = act.session_id.partition(":")[2]
        if isinstance(act, Found):
            yield "# The session was there before."
        yield f"async with {self._bot}.conversation({f'{CHANNEL}:{key}'!r}) as context:"
        if self._typed:
            yield f"    context.set_state({act.state!r})"
        else:
            yield "    context.state.clear()"
            yield f"    context.state.update({act.state!r})"
        if isinstance(act, Found) and act.step is not None:
            yield f"    context.next_step({act.step!r})"


def _list(texts: list[str]) -> str:
    return f"[{', '.join(map(repr, texts))}]"
