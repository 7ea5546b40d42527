"""barback: chat bots that remember."""

from typing import TYPE_CHECKING, Any

from barback.bot import Bot
from barback.channels.base import Channel, ServingChannel
from barback.console import ConsoleBot
from barback.context import Context
from barback.errors import (
    BarbackError,
    BotNotRunning,
    CannotSend,
    CommitUnknown,
    ConfigurationError,
    HandlerCancelled,
    HandlerRefused,
    HandlerTimeout,
    InvalidEvent,
    InvalidSessionId,
    LeaseLost,
    ListingUnsupported,
    MissingExtra,
    NotDone,
    Redeliver,
    SessionBusy,
    SessionStoreUnavailable,
    SessionTooNew,
    SessionUnreadable,
    StateValueError,
    TurnDeadlock,
    TurnEnded,
)
from barback.events import Event, User
from barback.record import Record
from barback.scope import Scope
from barback.session import Session
from barback.stores.base import Lease, LeasedStore, ListedStore, SessionStore
from barback.stores.local import LocalLeases
from barback.stores.memory import MemorySessionStore
from barback.stores.url import open_store
from barback.turn import Outcome

if TYPE_CHECKING:
    from barback.stores.file import FileSessionStore

__all__ = [
    "BarbackError",
    "Bot",
    "BotNotRunning",
    "CannotSend",
    "Channel",
    "CommitUnknown",
    "ConfigurationError",
    "ConsoleBot",
    "Context",
    "Event",
    "FileSessionStore",
    "HandlerCancelled",
    "HandlerRefused",
    "HandlerTimeout",
    "InvalidEvent",
    "InvalidSessionId",
    "Lease",
    "LeaseLost",
    "LeasedStore",
    "ListedStore",
    "ListingUnsupported",
    "LocalLeases",
    "MemorySessionStore",
    "MissingExtra",
    "NotDone",
    "Outcome",
    "Record",
    "Redeliver",
    "Scope",
    "ServingChannel",
    "Session",
    "SessionBusy",
    "SessionStore",
    "SessionStoreUnavailable",
    "SessionTooNew",
    "SessionUnreadable",
    "StateValueError",
    "TurnDeadlock",
    "TurnEnded",
    "User",
    "open_store",
]


if not TYPE_CHECKING:  # a type checker is to find names that are misspelt

    def __getattr__(name: str) -> Any:
        """Load a driver when it is first asked for: importing barback loads none."""
        if name == "FileSessionStore":
            from barback.stores.file import FileSessionStore  # noqa: PLC0415

            return FileSessionStore
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message, name=name)
