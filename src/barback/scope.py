"""Scope: whose session an event belongs to."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Final, Literal

from barback.errors import ConfigurationError, InvalidSessionId

if TYPE_CHECKING:
    from barback.events import Event

__all__ = ["Scope", "check_name", "is_key_of", "is_key_of_group", "is_name", "key_function"]

Scope = Literal["member", "conversation", "user", "thread"] | Callable[["Event"], str]
"""What a session's key is made of.

- "member", the default: the person within the conversation. In a private talk simply the person.
- "conversation": a group shares one session; a private talk has its own.
- "user": the person, wherever they write. What no person did, such as a post of a channel, belongs
  to its conversation.
- "thread": the thread within the conversation; without one, the conversation.
- a function of the event that returns the key.
"""

_NAME: Final = re.compile(r"(?!(?:history|unreadable)\Z)[A-Za-z0-9_.-]{1,64}")  # see id_beside


def key_function(scope: Scope) -> Callable[[Event], str]:
    """The function that makes a session's key of an event."""
    if callable(scope):
        if inspect.iscoroutinefunction(scope):
            message = "A scope is a plain function of the event, not `async def`."
            raise ConfigurationError(message)
        return scope
    try:
        return _SCOPES[scope]
    except (KeyError, TypeError):
        known = ", ".join(repr(name) for name in _SCOPES)
        message = f"scope must be one of {known}, or a function of the event, not {scope!r}."
        raise ConfigurationError(message) from None


def is_key_of(scope: Scope, user: str, key: str) -> bool:
    """Whether sessions of this key are of one person alone, by the way a scope makes keys.

    What a function makes of people nobody can tell: never, then.
    """
    own, (first, slash, last) = _escaped(user), key.partition("/")
    if callable(scope):
        return False
    if not slash:
        return first == own
    if scope == "member":
        return bool(first) and last == own
    # A person's thread; behind a group's slash there would be another.
    return scope == "thread" and first == own and not last.startswith("/") and last != ""


def is_key_of_group(key: str) -> bool:
    """Whether sessions of this key, unless a function made it, are a group's or its threads'."""
    _, slash, rest = key.partition("/")
    return slash != "" and (not rest or rest.startswith("/"))


def is_name(text: str) -> bool:
    """Whether a channel or a namespace may be called so."""
    return _NAME.fullmatch(text) is not None


@lru_cache(maxsize=256)
def check_name(name: str, what: str) -> str:
    """A channel's or namespace's name, which must not run into the rest of an id."""
    if not isinstance(name, str) or _NAME.fullmatch(name) is None:
        message = (
            f"A {what} is 1 to 64 letters, digits, '_', '.' or '-', and neither 'history' nor "
            f"'unreadable', not {name!r}."
        )
        raise ConfigurationError(message)
    return name


def _member(event: Event) -> str:
    if event.user is None:
        return _conversation(event)
    user = event.user.id
    if "/" in user or "%" in user:
        user = _escaped(user)
    return user if event.conversation is None else f"{_escaped(event.conversation)}/{user}"


def _conversation(event: Event) -> str:
    # The slash keeps a group apart from a person of the same id.
    return _person(event) if event.conversation is None else f"{_escaped(event.conversation)}/"


def _user(event: Event) -> str:
    return _conversation(event) if event.user is None else _escaped(event.user.id)


def _person(event: Event) -> str:
    if event.user is None:
        message = (
            f"{event!r} says not whose session it belongs to. Give it a user or, where the scope "
            f"allows for it, a conversation; or give the bot a scope that is a function."
        )
        raise InvalidSessionId(message)
    return _escaped(event.user.id)


def _thread(event: Event) -> str:
    if not event.thread:  # nor an empty one, whose key would be that of a group
        return _conversation(event)
    return f"{_conversation(event)}/{_escaped(event.thread)}"


def _escaped(part: str) -> str:
    """Ids come from strangers: a slash in one must not look like the border between two."""
    return part.replace("%", "%25").replace("/", "%2F")


_SCOPES: Final[dict[object, Callable[[Event], str]]] = {
    "member": _member,
    "conversation": _conversation,
    "user": _user,
    "thread": _thread,
}
