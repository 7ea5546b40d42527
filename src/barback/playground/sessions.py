"""Sessions: those of the playground's bot, to be looked at and changed under their leases."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final

import msgspec

from barback.errors import BarbackError
from barback.speaking import channel_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from barback.bot import Bot
    from barback.context import Context

__all__ = ["Conflict", "delete", "edit", "looks", "read"]

WITHIN: Final = 10.0  # seconds to wait for a session that a turn holds

looks: ContextVar[bool] = ContextVar("barback_playground_looks", default=False)
"""Whether a turn is the playground's own, and no news."""


class Conflict(BarbackError):
    """A session was changed meanwhile, or is held for too long."""


async def read(bot: Bot[Any], session_id: str) -> dict[str, Any]:
    """A session as it rests; looking is no activity."""
    found: dict[str, Any] = {}
    with suppress(_SeenEnough):
        async with _own(session_id), bot.conversation(session_id) as context:
            found = _record_of(context)
            raise _SeenEnough  # so that nothing is written
    return found


async def edit(
    bot: Bot[Any], session_id: str, state: dict[str, Any], version: str | None
) -> dict[str, Any]:
    """Set a session's state, if it is still of this version; what it is then.

    Raises `Conflict`, and what setting a state raises.
    """
    async with _own(session_id), bot.conversation(session_id) as context:
        if _version_of(context) != version:
            message = "The session was changed meanwhile: look at it again."
            raise Conflict(message, session_id=session_id)
        if bot._state_type is None:  # noqa: SLF001 - the bot is the playground's for now
            context.state.clear()
            context.state.update(state)
        else:
            context.set_state(state)
    return await read(bot, session_id)


async def delete(bot: Bot[Any], session_id: str) -> None:
    """Destroy a session. Raises `Conflict`."""
    channel_of(session_id)
    turns = bot._running()  # noqa: SLF001 - the bot is the playground's for now
    async with _own(session_id), turns.tend(bot._stored_id(session_id)) as turn:  # noqa: SLF001
        await turns.destroy(turn)


class _SeenEnough(Exception):
    """Ends a turn that was only to look."""


@asynccontextmanager
async def _own(session_id: str) -> AsyncIterator[None]:
    """Around a turn of the playground's own, which is no news, and is not waited for long."""
    token = looks.set(True)
    try:
        async with asyncio.timeout(WITHIN):
            yield
    except TimeoutError:
        message = "The session is held by a turn that takes long: try again when it is over."
        raise Conflict(message, session_id=session_id) from None
    finally:
        looks.reset(token)


def _version_of(context: Context[Any]) -> str | None:
    # As text: a version is larger than a page's numbers.
    version = context.session.version
    return None if version is None else str(version)


def _record_of(context: Context[Any]) -> dict[str, Any]:
    session, record = context.session, context._turn.kept  # noqa: SLF001 - what it is made of
    draft = context._draft  # noqa: SLF001
    return {
        "id": session.id,
        "is_new": session.is_new,
        "step": context.step,
        "version": _version_of(context),
        "created_at": session.created_at.isoformat(),
        "last_activity": session.last_activity.isoformat(),
        "expires_at": None if session.expires_at is None else session.expires_at.isoformat(),
        "schema": 0 if record is None else record.schema,
        "users": [] if record is None else list(record.users),
        "address": context.address,
        "seen": 0 if record is None else len(record.seen),
        "bytes": len(draft.base),
        "state": msgspec.json.decode(draft.base),
    }
