"""Names of attributes, by OpenTelemetry's semantic conventions, and those that have none there.

https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/
https://opentelemetry.io/docs/specs/semconv/messaging/messaging-metrics/
https://opentelemetry.io/docs/specs/semconv/database/database-spans/
https://opentelemetry.io/docs/specs/semconv/general/recording-errors/
"""

from __future__ import annotations

import asyncio
from typing import Final

__all__ = ["SCHEMA", "Attributes", "Value", "error_type", "of_channel", "of_error", "of_store"]

SCHEMA: Final = "https://opentelemetry.io/schemas/1.44.0"
"""The version of the conventions that names are taken from."""

Value = str | int | float | bool
Attributes = dict[str, Value]

SYSTEMS: Final = {"postgres": "postgresql", "mongo": "mongodb"}
"""Where the conventions call a database otherwise than a store calls itself."""


def of_channel(channel: str, operation: str, kind: str | None) -> Attributes:
    """A platform, and what is done with a message of it.

    A platform is the messaging system, and its only destination.
    """
    attributes: Attributes = {
        "messaging.system": channel,
        "messaging.destination.name": channel,
        "messaging.operation.name": operation,
    }
    if kind is not None:
        attributes["messaging.operation.type"] = kind
    return attributes


def of_store(store: str, operation: str) -> Attributes:
    """A store, and what it is asked."""
    return {
        "db.system.name": SYSTEMS.get(store, store),
        "db.operation.name": operation,
    }


def of_error(error: BaseException | None) -> Attributes:
    """What went wrong: its class, and never its words, which may tell what people have said."""
    return {} if error is None else {"error.type": error_type(error)}


def error_type(error: BaseException) -> str:
    """The name of an error's class, with its module unless it is Python's own."""
    kind = type(error)
    if kind is asyncio.CancelledError:
        return "asyncio.CancelledError"
    return kind.__qualname__ if kind.__module__ == "builtins" else _named(kind)


def _named(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"
