"""Context: what a handler is given."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Generic

import msgspec

from barback.entries import Entries
from barback.errors import CannotSend, ConfigurationError, StateValueError
from barback.session import Session
from barback.state import S
from barback.stores.base import duration, milliseconds

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from datetime import timedelta

    from barback.channels.base import Channel
    from barback.events import Event
    from barback.state import Draft
    from barback.turn import Turn

__all__ = ["Context"]


class Context(msgspec.Struct, Generic[S], eq=False):
    """One turn, as its handler sees it: the event, the session and its state, the way to reply.

    `Context[Profile]` is one of a bot whose states are of the class `Profile`.

    - `match`: what the pattern of the route found that the event took: an `re.Match`; else None.
    - `arguments`: what followed a command, without the space around it; else nothing.

    It ends with the turn. Changing or sending afterwards raises `TurnEnded`; nothing vanishes.
    """

    event: Event
    _turn: Turn
    _draft: Draft
    _session_id: str
    _channel: Channel | None
    _session: Session | None = None
    _history: Entries | None = None
    match: re.Match[str] | None = None
    arguments: str = ""

    @property
    def state(self) -> S:
        """The session's state, this turn's own: a dict, or an instance of the bot's type of states.

        A change inside it is kept as well. Raises `SessionUnreadable` for one that was kept, and
        does not fit its type.
        """
        draft = self._draft
        decoded: S | None = draft.decoded
        return draft.value if decoded is None else decoded

    def set_state(
        self,
        mapping: Mapping[str, Any] | None = None,
        /,
        *,
        expires_in: float | timedelta | None = None,
        **changes: Any,
    ) -> None:
        """Merge into the state: each key given is set, the others stay.

        Where states have a type, keys are its fields, and values must fit it; a frozen instance is
        replaced by another.

        `expires_in`: minutes, or a timedelta, after which these keys are taken back, as for a code
        that is good for once: to what they are initially, or to nothing. None: they stay. A key of
        that name is set by `mapping`.

        Raises `StateValueError` for a value that a session cannot keep, with its path (nothing is
        changed then), `ConfigurationError` for an `expires_in` that is no duration, and `TurnEnded`
        after the turn.
        """
        if self._draft.closed:
            self._draft.ensure_open(self._session_id)
        if mapping is not None:
            if not isinstance(mapping, Mapping):
                message = f"set_state takes a mapping or keywords, not {type(mapping).__name__}."
                raise StateValueError(message, session_id=self._session_id)
            changes = {**mapping, **changes}
        if expires_in is None and not self._draft.fades:
            self._draft.merge(changes)
            return
        span = milliseconds(duration(expires_in))
        self._draft.merge(changes)
        self._draft.keep_for(changes, None if span is None else self._turn.now + span)

    def reset_state(self) -> None:
        """Back to the bot's initial state, and to no step. Raises `TurnEnded` after the turn."""
        self._draft.ensure_open(self._session_id)
        self._draft.reset()

    @property
    def step(self) -> str | None:
        """The name of the step that the session is at; None where it is at none."""
        return self._draft.step

    def next_step(self, step: str | Callable[[Context[S]], Awaitable[None]]) -> None:
        """Let what is said next be handled by another step: its name, or its function.

        It is kept with the session: committed with the turn, or not at all. Raises
        `ConfigurationError` for a step that the bot has not, and `TurnEnded` after the turn.
        """
        self._draft.ensure_open(self._session_id)
        self._draft.step = self._turn.turns.steps.name_of(step)

    def end_steps(self) -> None:
        """Let the session be at no step any more. Raises `TurnEnded` after the turn."""
        self._draft.ensure_open(self._session_id)
        self._draft.step = None

    @property
    def session(self) -> Session:
        """The session: its id, times and version."""
        if self._session is None:
            turn = self._turn
            self._session = Session(
                self._session_id,
                record=turn.kept,
                draft=self._draft,
                now=turn.now,
                default_lifetime=turn.turns.lifetime,
                max_age=turn.turns.max_age,
            )
        return self._session

    @property
    def history(self) -> Entries:
        """The session's history. Raises `ConfigurationError` if the bot keeps none."""
        turns = self._turn.turns
        history = turns.chunks.history
        if history is None:
            message = "The bot keeps no history: make it with Bot(history=History(...))."
            raise ConfigurationError(message)
        if self._history is None:
            self._history = Entries(self._turn, self._draft, turns.chunks, history)
        return self._history

    @property
    def channel(self) -> Channel:
        """The platform the session is on. Raises `CannotSend` if the bot has no such channel."""
        if self._channel is None:
            name = self._session_id.partition(":")[0]
            message = f"The bot has no channel {name!r}: give it one, with Bot(channels=[...])."
            raise CannotSend(message, session_id=self._session_id)
        return self._channel

    @property
    def client(self) -> Any:
        """The whole platform: the channel's own client, or None where it has none."""
        return self.channel.client

    @property
    def address(self) -> str | None:
        """Where replies go, in the channel's words.

        The event's, or the one the session keeps, or else what the channel makes of its key.
        """
        if self.event.address is not None:
            return self.event.address
        record = self._turn.record
        if record is not None and record.address is not None:
            return record.address
        key = self._session_id.partition(":")[2]
        return None if self._channel is None else self._channel.address_of(key)

    async def send_text(self, text: str) -> None:
        """Say `text`. Raises `TurnEnded` after the turn, and what the channel raises."""
        if self._draft.closed:
            self._draft.ensure_open(self._session_id)
        await (self._channel or self.channel).send_text(self, text)

    async def typing(self) -> None:
        """Show that the bot is about to say something, where the platform has a way to."""
        await self._send("typing", self.channel.typing)

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        """`send_…`: what else the channel can send, by the names of its platform.

        Its call raises `ArgumentsNeedNames` for what is given by position and has to have a name.
        """
        if name.startswith("send_"):
            sender = self.channel.sender(name)
            if sender is not None:
                return partial(self._send, name, sender)
            message = f"The {self.channel.name} channel has no {name}."
            raise AttributeError(message, name=name, obj=self)
        message = f"{type(self).__name__!r} object has no attribute {name!r}"
        raise AttributeError(message, name=name, obj=self)

    async def _send(
        self, name: str, sender: Callable[..., Awaitable[Any]], /, *args: Any, **options: Any
    ) -> Any:
        self._draft.ensure_open(self._session_id)
        if args:
            from barback.channels.arguments import check_positions  # noqa: PLC0415 - seldom wanted

            check_positions(name, sender, args)
        return await sender(self, *args, **options)

    def __repr__(self) -> str:
        return f"<Context of {self._session_id!r}>"
