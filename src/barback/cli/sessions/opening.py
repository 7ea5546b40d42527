"""Opening: the store that was named, the keys, and who goes over the sessions."""

from __future__ import annotations

import os
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

from barback.errors import ConfigurationError
from barback.rules import Rules
from barback.scope import check_name
from barback.state import InitialState
from barback.states import States
from barback.stores.local import leased
from barback.stores.memory import MemorySessionStore
from barback.stores.url import open_store
from barback.tending import Tender, turns_on

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from barback.bot import Bot
    from barback.encryption import Keys
    from barback.stores.base import LeasedStore, SessionStore

__all__ = ["keys_from", "prefix_of", "states_with", "store_for", "tending"]

VARIABLE: Final = "BARBACK_KEYS"


def store_for(bot: Bot[Any], url: str | None) -> SessionStore | LeasedStore | None:
    """The store that was named, if one was, on which the bot works then."""
    if url is not None:
        store = open_store(url)
        bot._store = leased(store)  # noqa: SLF001 - for this command, which ends with it
        return store
    if isinstance(bot._store, MemorySessionStore):  # noqa: SLF001
        message = "The bot's sessions are in memory, where this command finds none. Name a --store."
        raise ConfigurationError(message)
    return None


@asynccontextmanager
async def tending(
    store: SessionStore | LeasedStore | str, states: States, prefix: str | None = None
) -> AsyncIterator[Tender]:
    """Who goes over a store with no bot; of every bot's sessions, unless there is a `prefix`."""
    opened = open_store(store) if isinstance(store, str) else store
    await opened.must_exist()
    async with turns_on(leased(opened), states, Rules(), time.time) as turns:
        yield Tender(turns, prefix, time.time)


def prefix_of(namespace: str | None) -> str | None:
    """What stands before the ids of the bot with this namespace; None, if none was named."""
    return f"{check_name(namespace, 'namespace')}/" if namespace else namespace


def states_with(keys: Keys | None = None) -> States:
    """States as they are, of no bot's type."""
    return States(InitialState(None), keys=keys)


def keys_from(file: str | None) -> Keys | None:
    """The bot's keys: what was plain before there were keys is read too."""
    if file is None and VARIABLE not in os.environ:
        return None
    from barback.encryption import Keys  # noqa: PLC0415 - it needs an extra

    if file is None:
        return Keys.from_environment(VARIABLE, accept_plain=True)
    return Keys.from_file(file, accept_plain=True)
