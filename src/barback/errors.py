"""Every error barback raises, in one tree.

    BarbackError
    ├── ConfigurationError        (ValueError)      a bot or store was put together wrongly
    │   ├── HandlerRefused        (TypeError)       not `async def`, or one handler too many
    │   ├── InvalidEvent          (ValueError)      an event that no session could remember
    │   ├── MissingExtra          (ImportError)     an optional dependency is not installed
    │   └── InvalidSessionId      (ValueError)      an id that is malformed
    │       └── SessionIdTooLong                    an id of more than 512 bytes
    ├── StateValueError           (ValueError)      a value a session cannot keep, and its path
    │   └── StateTooLarge         (ValueError)      a state of more bytes than a bot lets it have
    ├── TurnEnded                 (RuntimeError)    a context was used after its turn
    ├── TurnDeadlock              (RuntimeError)    a turn would have waited for itself
    ├── HandlerTimeout            (TimeoutError)    a handler ran longer than `handler_timeout`
    ├── HandlerCancelled      (RuntimeError)    what a handler awaited was cancelled, not itself
    ├── CannotSend                (LookupError)     no channel, or no address, to send through
    ├── ArgumentsNeedNames        (TypeError)       a platform's parameters, given by position
    ├── ChannelError                                a platform refused what it was asked
    │   └── ChannelUnreachable    (ConnectionError) a platform did not answer, or could not be asked
    ├── WebhookRefused            (PermissionError) a request that is not the platform's
    ├── WebhookMalformed          (ValueError)      a request that no event can be made of
    ├── ListingUnsupported        (TypeError)       the store's driver cannot list its sessions
    ├── CommitUnknown             (ConnectionError) a commit may or may not have been applied
    └── NotDone                                     nothing was committed: deliver the event again
        ├── Redeliver                               a handler asked for the event to come again
        ├── BotNotRunning         (RuntimeError)    the bot has not started, or is shutting down
        ├── BotOverloaded                           more events wait than the bot lets wait
        ├── SessionBusy           (TimeoutError)    another turn holds the session
        ├── LeaseLost             (RuntimeError)    the session passed to another turn meanwhile
        ├── SessionStoreUnavailable (ConnectionError) the store cannot be reached or refuses to work
        └── SessionUnreadable     (ValueError)      a record exists and cannot be understood
            ├── SessionTooNew                       a record was written by newer code
            ├── MigrationFailed                     an older state could not be made a newer one
            ├── KeyMissing                          a state is encrypted with a key the bot has not
            ├── WrongKey                            a key has the name of another, and is not that
            ├── SessionNotEncrypted                 a state is plain text where none should be
            └── SessionTampered                     an encrypted state was changed, or moved here

A turn ends in one of four ways: committed, handler failed, not done, unknown. Whatever derives
from `NotDone` promises the third; `CommitUnknown` is the fourth. No message, repr or log line
holds a session's state, a password or a token; a driver's own error is the `__cause__`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

__all__ = [
    "ArgumentsNeedNames",
    "BarbackError",
    "BotNotRunning",
    "BotOverloaded",
    "CannotSend",
    "ChannelError",
    "ChannelUnreachable",
    "CommitUnknown",
    "ConfigurationError",
    "HandlerCancelled",
    "HandlerRefused",
    "HandlerTimeout",
    "InvalidEvent",
    "InvalidSessionId",
    "KeyMissing",
    "LeaseLost",
    "ListingUnsupported",
    "MigrationFailed",
    "MissingExtra",
    "NotDone",
    "Redeliver",
    "SessionBusy",
    "SessionIdTooLong",
    "SessionNotEncrypted",
    "SessionStoreUnavailable",
    "SessionTampered",
    "SessionTooNew",
    "SessionUnreadable",
    "StateTooLarge",
    "StateValueError",
    "TurnDeadlock",
    "TurnEnded",
    "WebhookMalformed",
    "WebhookRefused",
    "WrongKey",
]


class BarbackError(Exception):
    """The root of every error barback raises.

    `session_id` and `store` say which session and which store it is about, where that is known.
    """

    def __init__(
        self, message: str = "", *, session_id: str | None = None, store: str | None = None
    ) -> None:
        super().__init__(message)
        self.session_id = session_id
        self.store = store

    def __reduce__(self) -> tuple[Any, ...]:
        # Keyword-only fields do not travel through `Exception.__reduce__`'s `cls(*args)`.
        return (_rebuild, (type(self), self.args, self.__dict__))


def _rebuild(
    kind: type[BarbackError], args: tuple[Any, ...], fields: dict[str, Any]
) -> BarbackError:
    error = kind.__new__(kind, *args)
    error.args = args
    error.__dict__.update(fields)
    return error


class ConfigurationError(BarbackError, ValueError):
    """A bot or a store was put together wrongly; nothing was started."""


class HandlerRefused(ConfigurationError, TypeError):
    """A handler, middleware or `on_error` that is not `async def`, or a second handler."""


class InvalidEvent(ConfigurationError):
    """An event, or its user, of which a part is no text, or is too long to be remembered."""


class MissingExtra(ConfigurationError, ImportError):
    """An optional dependency is not installed; the message is the command that installs it."""


class InvalidSessionId(ConfigurationError):
    """A session id that is empty, has no `channel:key` form, or is longer than 512 bytes."""


class SessionIdTooLong(InvalidSessionId):
    """A session id of more than 512 bytes: what somebody has sent may have made it so.

    Out of `Bot.handle` it says that the event can never be handled: do not deliver it again.
    """


class StateValueError(BarbackError, ValueError):
    """A value that a session cannot keep; `path` says where in the state it stands."""

    def __init__(self, message: str = "", *, path: str = "state", **where: Any) -> None:
        super().__init__(message, **where)
        self.path = path


class StateTooLarge(StateValueError):
    """A state is of more bytes than the bot's `max_state_size`; nothing of the turn is kept."""


class TurnEnded(BarbackError, RuntimeError):
    """A context was used after its turn had ended, when nothing could be kept or sent any more."""


class TurnDeadlock(BarbackError, RuntimeError):
    """A turn asked for a session that is waiting, directly or through others, for that turn."""


class HandlerTimeout(BarbackError, TimeoutError):
    """A handler ran longer than the bot's `handler_timeout`, and was cancelled."""


class HandlerCancelled(BarbackError, RuntimeError):
    """Something a handler awaited was cancelled, and the handler let that out as its own end."""


class CannotSend(BarbackError, LookupError):
    """There is no channel, or no address, through which to send."""


class ArgumentsNeedNames(BarbackError, TypeError):
    """What a platform takes by the names of its parameters was given without them."""


class ChannelError(BarbackError):
    """A platform refused what it was asked. What the message says has no token, and no one's text.

    - `channel`: the channel's name; `call`: the platform's method that was called.
    - `status`: of its answer, as HTTP has it; None where it did not answer.
    - `code`: the platform's own code, or else that status.
    - `description`: what the platform says of it.
    - `retry_after`: seconds after which the platform takes it, where it says so.
    - `parameters`: what else the platform says of it, such as the id a group has moved to.
    """

    def __init__(  # noqa: PLR0913 - what there is to tell, by keyword
        self,
        message: str = "",
        *,
        channel: str = "",
        call: str = "",
        status: int | None = None,
        code: int | str | None = None,
        description: str = "",
        retry_after: float | None = None,
        parameters: Mapping[str, Any] | None = None,
        **where: Any,
    ) -> None:
        super().__init__(message, **where)
        self.channel = channel
        self.call = call
        self.status = status
        self.code = code
        self.description = description
        self.retry_after = retry_after
        self.parameters = dict(parameters or {})


class ChannelUnreachable(ChannelError, ConnectionError):
    """A platform did not answer, or could not be asked.

    `sent`: whether it may have done all the same what it was asked.
    """

    def __init__(self, message: str = "", *, sent: bool = True, **fields: Any) -> None:
        super().__init__(message, **fields)
        self.sent = sent


class WebhookRefused(BarbackError, PermissionError):
    """A request to a webhook does not prove that the platform has sent it: 401."""


class WebhookMalformed(BarbackError, ValueError):
    """A request to a webhook is not what its platform sends: no event can be made of it. 400."""


class ListingUnsupported(BarbackError, TypeError):
    """The store's driver has only the four methods of a `SessionStore`, and cannot list."""


class CommitUnknown(BarbackError, ConnectionError):
    """The answer to a commit was lost, and it cannot be found out whether it was applied.

    Out of `Bot.handle` it is about the event's own turn. Out of a conversation that a handler has
    opened it is about that, and fails the handler as any exception does: `Outcome.FAILED`.
    """


class NotDone(BarbackError):
    """Nothing was committed; the event may be delivered again. The base of all such errors."""


class Redeliver(NotDone):
    """Raise it in a handler to give the event back: nothing is committed, `on_error` is not run."""


class BotNotRunning(NotDone, RuntimeError):
    """The bot has not been started, or is shutting down."""


class BotOverloaded(NotDone):
    """So many events wait already, for one session or in all, that this one may not.

    `retry_after`: seconds after which to deliver it again.
    """

    retry_after: ClassVar[float] = 1.0


class SessionBusy(NotDone, TimeoutError):
    """Another turn holds the session's lease."""


class LeaseLost(NotDone, RuntimeError):
    """The turn's lease passed to another turn, or its session was destroyed, before the commit."""


class SessionStoreUnavailable(NotDone, ConnectionError):
    """The store cannot be reached or cannot do its work. It says nothing of the session."""


class SessionUnreadable(NotDone, ValueError):
    """A record exists and cannot be understood. It is left as it is, never taken for a new user.

    `may_begin_anew`: whether a bot's `on_unreadable` is asked if the record is to be kept aside.
    """

    may_begin_anew: ClassVar[bool] = True


class SessionTooNew(SessionUnreadable):
    """A record was written by a newer version of the code, and is not relabelled by an older."""

    may_begin_anew = False


class MigrationFailed(SessionUnreadable):
    """An older state could not be made one of the version that the code knows."""


class _KeyError(SessionUnreadable):
    """What is wrong with a key; `key` is its name."""

    may_begin_anew = False

    def __init__(self, message: str = "", *, key: str = "", **where: Any) -> None:
        super().__init__(message, **where)
        self.key = key


class KeyMissing(_KeyError):
    """A state is encrypted with a key that the bot does not have, or it has none at all.

    `key`: that key's name; "" where the bot has none at all. Nothing is wrong with the session: a
    key that was forgotten must not let every session begin anew.
    """


class WrongKey(_KeyError):
    """The bot has a key of that name, `key`, and it is another than the state is encrypted with."""


class SessionNotEncrypted(SessionUnreadable):
    """A state is plain text, and the bot has keys and was not told to take plain text.

    It is from before there were keys, or somebody else has put it there.
    """

    may_begin_anew = False


class SessionTampered(SessionUnreadable):
    """An encrypted state was changed since, or was encrypted for another session."""


def without_bytes(error: Exception) -> Exception:
    """A decoder's error as a cause: one that keeps the bytes it was given is its words alone."""
    return ValueError(str(error)) if isinstance(error, UnicodeDecodeError) else error
