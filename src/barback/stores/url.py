"""Opening a store by its URL."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from barback.errors import ConfigurationError, MissingExtra

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from importlib.metadata import EntryPoint

    from barback.stores.base import LeasedStore, SessionStore

__all__ = ["may_hold_password", "open_store", "parse_url", "take_options"]

ENTRY_POINTS = "barback.stores"


def open_store(url: str) -> SessionStore | LeasedStore:
    """The store that `url` names, not yet connected: `async with` it, or give it to a bot.

    `memory://`, `file:.sessions`, `sqlite:///sessions.db`, `redis://host`, `mongodb://host` and
    `postgresql://host` are barback's own; others come from the entry point group `barback.stores`,
    where a driver's name is its URL scheme and its value a class with a `from_url(url)`. Every
    store takes `expires_in=MINUTES` as a parameter, and its other options by their names.

    Raises `ConfigurationError` for a scheme nobody serves or a parameter the store does not have,
    and `MissingExtra` where the driver's package is not installed.
    """
    scheme, colon, rest = url.partition(":") if isinstance(url, str) else ("", "", "")
    scheme = scheme.lower()
    if not (scheme and colon):
        message = "A store's URL starts with its kind, as in file:.sessions or memory://."
        raise ConfigurationError(message)
    from importlib.metadata import entry_points  # noqa: PLC0415 - slow to load, seldom wanted

    found = {entry.name: entry for entry in entry_points(group=ENTRY_POINTS)}
    if scheme not in found:
        known = ", ".join(sorted(found))
        # The rest of the URL may hold a password, and stays out of the message.
        message = f"No store serves URLs of the kind {scheme!r}. Installed are: {known}."
        raise ConfigurationError(message)
    store: SessionStore | LeasedStore = _driver(found[scheme]).from_url(f"{scheme}:{rest}")
    return store


def _driver(entry: EntryPoint) -> Any:
    """The class that an entry point names."""
    try:
        driver = entry.load()
    except MissingExtra:
        raise
    except (ImportError, AttributeError) as error:
        message = f"The store {entry.name!r} cannot be loaded: its entry point is {entry.value}."
        raise ConfigurationError(message) from error
    if not callable(getattr(driver, "from_url", None)):
        message = f"The store {entry.name!r}, which is {entry.value}, has no `from_url`."
        raise ConfigurationError(message)
    return driver


def parse_url(
    url: str, *, allowed: Mapping[str, Callable[[str], Any]]
) -> tuple[str, dict[str, Any]]:
    """Split `scheme:address?key=value` into the address, still encoded, and the options.

    `allowed` names each option and what makes a value of its text; an `expires_in`, or a
    `max_age`, of "never" is None.
    A leading `//` is no part of the address. Raises `ConfigurationError`.
    """
    from urllib.parse import parse_qsl  # noqa: PLC0415 - not loaded with barback

    scheme, _, rest = url.partition(":")
    address, _, query = rest.partition("?")
    options: dict[str, Any] = {}
    for key, text in parse_qsl(query, keep_blank_values=True):
        if key not in allowed:
            known = ", ".join(sorted(allowed))
            which = "option of that name" if may_hold_password(query) else f"option {key!r}"
            message = f"A {scheme} store has no {which}; it has {known}."
            raise ConfigurationError(message)
        options[key] = _value(scheme, key, text, allowed[key], query)
    return address.removeprefix("//"), options


def take_options(
    url: str, *, allowed: Mapping[str, Callable[[str], Any]]
) -> tuple[str, dict[str, Any]]:
    """Take barback's own options out of a URL; the rest is for the client's own parser.

    As `parse_url`, but options it does not know stay in the URL, as they were written.
    """
    from urllib.parse import unquote_plus  # noqa: PLC0415 - not loaded with barback

    address, mark, query = url.partition("?")
    scheme = url.partition(":")[0]
    options: dict[str, Any] = {}
    rest = []
    for part in query.split("&"):
        key, _, text = part.partition("=")
        if key in allowed:
            options[key] = _value(scheme, key, unquote_plus(text), allowed[key], query)
        else:
            rest.append(part)
    return (f"{address}{mark}{'&'.join(rest)}" if any(rest) else address), options


def may_hold_password(query: str) -> bool:
    """Whether a URL's query may be a piece of its password, whose question mark is not encoded.

    Then none of its names and values are to be told.
    """
    return "@" in query


def _value(scheme: str, key: str, text: str, make: Callable[[str], Any], query: str) -> Any:
    try:
        return None if text == "never" and key in {"expires_in", "max_age"} else make(text)
    except ValueError:
        value = "what the URL says" if may_hold_password(query) else repr(text)
        message = f"The {scheme} store's option {key} cannot be {value}."
        raise ConfigurationError(message) from None
