"""barback: chat bots that remember."""

from typing import TYPE_CHECKING, Any

from barback.bot import Bot
from barback.channels.base import Channel, ServingChannel
from barback.context import Context
from barback.errors import (
    ArgumentsNeedNames,
    BarbackError,
    BotNotRunning,
    BotOverloaded,
    CannotSend,
    ChannelError,
    ChannelUnreachable,
    CommitUnknown,
    ConfigurationError,
    HandlerCancelled,
    HandlerRefused,
    HandlerTimeout,
    InvalidEvent,
    InvalidSessionId,
    KeyMissing,
    LeaseLost,
    ListingUnsupported,
    MigrationFailed,
    MissingExtra,
    NotDone,
    Redeliver,
    SessionBusy,
    SessionIdTooLong,
    SessionNotEncrypted,
    SessionStoreUnavailable,
    SessionTampered,
    SessionTooNew,
    SessionUnreadable,
    StateTooLarge,
    StateValueError,
    TurnDeadlock,
    TurnEnded,
    WebhookMalformed,
    WebhookRefused,
    WrongKey,
)
from barback.events import Event, User
from barback.history import Entry, History
from barback.record import Record
from barback.scope import Scope
from barback.session import Session
from barback.stores.base import InstantStore, Lease, LeasedStore, ListedStore, SessionStore
from barback.stores.local import LocalLeases
from barback.stores.memory import MemorySessionStore
from barback.stores.operation import Operation
from barback.stores.url import open_store
from barback.turn import Outcome

if TYPE_CHECKING:
    from barback.channels.line import LineChannel
    from barback.channels.messenger import MessengerChannel
    from barback.channels.slack import SlackChannel
    from barback.channels.telegram import TelegramChannel
    from barback.channels.viber import ViberChannel
    from barback.channels.webhook import WebhookAnswer, WebhookChannel, WebhookRequest
    from barback.channels.whatsapp import WhatsAppChannel
    from barback.console import ConsoleBot
    from barback.encryption import Keys as Keys
    from barback.observing import Observer
    from barback.stores.copying import copy_store
    from barback.stores.file import FileSessionStore
    from barback.stores.mongo import MongoSessionStore as MongoSessionStore
    from barback.stores.postgres import PostgresSessionStore as PostgresSessionStore
    from barback.stores.redis import RedisSessionStore as RedisSessionStore
    from barback.stores.sqlite import SQLiteSessionStore
    from barback.telemetry import Telemetry as Telemetry

# Without the names that need an extra: `from barback import *` works with none installed.
__all__ = [
    "ArgumentsNeedNames",
    "BarbackError",
    "Bot",
    "BotNotRunning",
    "BotOverloaded",
    "CannotSend",
    "Channel",
    "ChannelError",
    "ChannelUnreachable",
    "CommitUnknown",
    "ConfigurationError",
    "ConsoleBot",
    "Context",
    "Entry",
    "Event",
    "FileSessionStore",
    "HandlerCancelled",
    "HandlerRefused",
    "HandlerTimeout",
    "History",
    "InstantStore",
    "InvalidEvent",
    "InvalidSessionId",
    "KeyMissing",
    "Lease",
    "LeaseLost",
    "LeasedStore",
    "LineChannel",
    "ListedStore",
    "ListingUnsupported",
    "LocalLeases",
    "MemorySessionStore",
    "MessengerChannel",
    "MigrationFailed",
    "MissingExtra",
    "NotDone",
    "Observer",
    "Operation",
    "Outcome",
    "Record",
    "Redeliver",
    "SQLiteSessionStore",
    "Scope",
    "ServingChannel",
    "Session",
    "SessionBusy",
    "SessionIdTooLong",
    "SessionNotEncrypted",
    "SessionStore",
    "SessionStoreUnavailable",
    "SessionTampered",
    "SessionTooNew",
    "SessionUnreadable",
    "SlackChannel",
    "StateTooLarge",
    "StateValueError",
    "TelegramChannel",
    "TurnDeadlock",
    "TurnEnded",
    "User",
    "ViberChannel",
    "WebhookAnswer",
    "WebhookChannel",
    "WebhookMalformed",
    "WebhookRefused",
    "WebhookRequest",
    "WhatsAppChannel",
    "WrongKey",
    "copy_store",
    "open_store",
]


if not TYPE_CHECKING:  # a type checker is to find names that are misspelt
    _LAZY = {
        "ConsoleBot": "barback.console",
        "FileSessionStore": "barback.stores.file",
        "Keys": "barback.encryption",
        "MessengerChannel": "barback.channels.messenger",
        "LineChannel": "barback.channels.line",
        "MongoSessionStore": "barback.stores.mongo",
        "Observer": "barback.observing",
        "PostgresSessionStore": "barback.stores.postgres",
        "RedisSessionStore": "barback.stores.redis",
        "SQLiteSessionStore": "barback.stores.sqlite",
        "SlackChannel": "barback.channels.slack",
        "TelegramChannel": "barback.channels.telegram",
        "Telemetry": "barback.telemetry",
        "ViberChannel": "barback.channels.viber",
        "WebhookAnswer": "barback.channels.webhook",
        "WebhookChannel": "barback.channels.webhook",
        "WebhookRequest": "barback.channels.webhook",
        "WhatsAppChannel": "barback.channels.whatsapp",
        "copy_store": "barback.stores.copying",
    }

    def __getattr__(name: str) -> Any:
        """Load what only some bots use when it is first asked for: importing barback does not.

        Raises `MissingExtra` where what it needs is not installed.
        """
        if name in _LAZY:
            from importlib import import_module  # noqa: PLC0415

            return getattr(import_module(_LAZY[name]), name)
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message, name=name)

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
