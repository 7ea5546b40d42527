"""Speaking: what a bot says without having been asked."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import AsyncIterable, Iterable
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Generic

from barback.broadcasting import Broadcast, Broadcaster, Pace, Said, Sessions
from barback.context import Context
from barback.errors import (
    CannotSend,
    ConfigurationError,
    HandlerRefused,
    InvalidSessionId,
    Redeliver,
)
from barback.events import Event
from barback.handlers import check_async
from barback.options import count, seconds
from barback.record import check_session_id
from barback.scope import check_name
from barback.state import S
from barback.turn import Outcome, Turn, Turns

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from barback.channels.base import Channel
    from barback.handlers import Handler

__all__ = ["Speaking"]


class Speaking(ABC, Generic[S]):
    """The part of a bot that speaks first."""

    _channels: dict[str, Channel]

    @asynccontextmanager
    async def conversation(self, session_id: str) -> AsyncIterator[Context[S]]:
        """A turn outside an event: `async with bot.conversation("telegram:42") as context:`.

        For reminders, payment webhooks, hand-over. The same queue, lease and commit as for an
        event; `context.event` is of the kind "conversation" and has nothing in it. What the block
        raises is the caller's: nothing is committed then. It has no id: what asks for it again
        does it again. Inside a handler it is a turn of its own all the same, and stays committed
        where the handler's is not.

        Of a `CommitUnknown` that a handler lets out, its own turn is failed, not unknown: nothing
        of that was committed. Where the event is to come again, raise `Redeliver` instead.

        Raises `TurnDeadlock` inside a turn of the same session, and what `handle` raises.
        """
        turns = self._running()
        channel = channel_of(session_id)
        turn = Turn(turns, self._stored_id(session_id), Event(channel=channel, kind="conversation"))
        turn.origin = "conversation"
        async with turns.hold(turn):
            yield self._context(turn)

    async def broadcast(  # noqa: PLR0913 - what there is to say, by keyword
        self,
        session_ids: Sessions,
        message: str | Handler[S],
        /,
        *,
        once: str | None = None,
        per_second: float | None = None,
        on_progress: Callable[[Broadcast], object] | None = None,
        on_failure: Callable[[str, Exception], object] | None = None,
        max_failures: int = 20,
    ) -> Broadcast:
        """Tell many sessions something, each in a turn of its own, and say how many were told.

        - `session_ids`: whom, such as `bot.session_ids("telegram")`, or ids from elsewhere.
        - `message`: a text, or `async def say(context)`, which says it and may set state. Let it
          send one message: where a platform puts it off, it is called again.
        - `once`: a name of the broadcast. It is kept with each session that was told, so that the
          same broadcast, begun again after a crash, tells nobody twice: within the bot's
          `dedupe_for` and `dedupe_limit`. A session that did not exist does so afterwards.
        - `per_second`: how many messages go out to each platform in a second; unless set, as many
          as its channel says the platform bears (`sends_per_second`).
        - `on_progress`: called after each session, with the counts so far.
        - `on_failure`: called with the id and the error of each session that could not be told,
          as who has blocked the bot: a `ChannelError`. They are not logged otherwise.
        - `max_failures`: of how many failures the reasons are kept in what is returned.

        Where a platform asks to wait, all messages to it wait. What was surely not sent is tried
        again a few times; what may have been sent is not. It can be cancelled: what is under way is
        not done then. It takes long: let it run in a task of its own, rather than in a handler.

        Raises `ConfigurationError` for what is no broadcast, and `BotNotRunning`.
        """
        self._running()
        say: Handler[S]
        if isinstance(message, str):
            say = partial(_say_text, text=message)
        else:
            check_async(message, "What says a broadcast", "async def say(context)")
            say = message
        if once is not None and (not isinstance(once, str) or not once):
            reason = f"once must be a name that is not empty, not {once!r}."
            raise ConfigurationError(reason)
        Event(channel="broadcast", id=once)  # which raises for a name that cannot be kept
        if per_second is not None:
            per_second = seconds(per_second, "per_second")
        _check_plain(on_progress, "on_progress")
        _check_plain(on_failure, "on_failure")
        if not isinstance(session_ids, (Iterable, AsyncIterable)) or isinstance(session_ids, str):
            reason = "A broadcast goes to a list of session ids; to one, use conversation()."
            raise ConfigurationError(reason)
        paces: dict[str, Pace] = {}

        def pace_of(session_id: str) -> Pace:
            channel = self._speaking_channel(session_id)
            if channel.name not in paces:
                paces[channel.name] = Pace(per_second or channel.sends_per_second)
            return paces[channel.name]

        broadcaster = Broadcaster(
            partial(self._tell, say, once),
            pace_of,
            looks=once is not None,
            max_failures=count(max_failures, "max_failures"),
            on_progress=on_progress,
            on_failure=on_failure,
        )
        await broadcaster.tell_all(session_ids)
        return broadcaster.done

    async def _tell(
        self, say: Handler[S], once: str | None, session_id: str, said: Said
    ) -> Outcome | None:
        """Tell one session, in a turn that is done only if that was said."""
        channel = channel_of(session_id)
        turn = Turn(
            self._running(),
            self._stored_id(session_id),
            Event(channel=channel, kind="broadcast", id=once),
            None if once is None else f"{channel}:broadcast:{once}",
        )
        turn.remember, turn.origin = once is not None, "broadcast"
        failed: list[Exception] = []

        async def work(turn: Turn) -> None:
            if said.looking:
                message = "It was not told before."
                raise Redeliver(message)
            said.begun = True
            await say(self._context(turn))

        async def fail(_: Turn, error: Exception) -> None:
            failed.append(error)
            message = "It was not said."  # so nothing of it is kept, and the caller hears of it
            raise Redeliver(message)

        try:
            return await turn.turns.run(turn, work, fail)
        except Redeliver:
            if failed:
                raise failed[0] from None
            if said.looking:
                return None
            raise

    def _speaking_channel(self, session_id: str) -> Channel:
        name = channel_of(session_id)
        channel = self._channels.get(name)
        if channel is None:
            message = f"The bot has no channel {name!r}: give it one, with Bot(channels=[...])."
            raise CannotSend(message, session_id=session_id)
        return channel

    @abstractmethod
    def _running(self) -> Turns:
        """The turns of the bot. Raises `BotNotRunning` if it is not, or is about to stop."""

    @abstractmethod
    def _stored_id(self, session_id: str) -> str:
        """A session's id as the store knows it."""

    @abstractmethod
    def _context(self, turn: Turn) -> Context[S]:
        """What a handler of this turn is given."""


async def _say_text(context: Context[Any], *, text: str) -> None:
    await context.send_text(text)


def _check_plain(told: object, name: str) -> None:
    """Refuse what could not be called, and what nobody would await."""
    if told is not None and (not callable(told) or inspect.iscoroutinefunction(told)):
        message = f"{name} is a plain function, which is called and not awaited."
        raise HandlerRefused(message)


def channel_of(session_id: str) -> str:
    """The channel of a session, by its id. Raises `InvalidSessionId`."""
    if not isinstance(session_id, str):
        message = f"A session id is text, not {type(session_id).__name__}."
        raise InvalidSessionId(message)
    return check_name(check_session_id(session_id).partition(":")[0], "channel's name")
