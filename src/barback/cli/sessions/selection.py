"""Selection: which sessions of a store are meant."""

from __future__ import annotations

import re
from contextlib import aclosing
from fnmatch import translate
from functools import wraps
from typing import TYPE_CHECKING, Any, Final

import msgspec

from barback.cli.sessions.options import size, span
from barback.errors import ConfigurationError
from barback.extras import needs_extra
from barback.record import ASIDE, FORMAT_OVER
from barback.scope import check_name
from barback.tending import place_of

with needs_extra("cli"):
    import click

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from barback.record import Record
    from barback.tending import Tender

__all__ = ["Selection", "is_over", "selected", "selecting", "weight_of"]

WILD: Final = re.compile(r"[*?\[]")


class Selection(msgspec.Struct, frozen=True, kw_only=True):
    """What sessions must be like to be meant; each field that is not set says nothing.

    - `channels`, `namespace`: of their ids; the namespace "" is none.
    - `prefix`, `match`: how the whole id begins; what it looks like, with `*`, `?` and `[…]`.
    - `older_than`, `younger_than`: the last activity is so long ago, or less; milliseconds.
    - `larger_than`: bytes of the record.
    - `over`: whether they are over.
    - `aside`: records that were kept aside are meant, rather than sessions.
    """

    channels: tuple[str, ...] = ()
    namespace: str | None = None
    prefix: str = ""
    match: str | None = None
    older_than: int | None = None
    younger_than: int | None = None
    larger_than: int | None = None
    over: bool | None = None
    aside: bool = False

    @property
    def begin(self) -> str:
        """What the ids of all that are meant begin with, so that a store need not list others."""
        found = self.prefix
        if self.match is not None:
            found = max(found, WILD.split(self.match, maxsplit=1)[0], key=len)
        if self.namespace:
            found = max(found, f"{self.namespace}/", key=len)
        return found

    def has(self, record: Record, now: int) -> bool:
        """Whether a record is one of those, at a time in milliseconds."""
        place = place_of(record.id)
        return (
            place.part == (ASIDE if self.aside else "")
            and (not self.channels or place.channel in self.channels)
            and (self.namespace is None or place.namespace == self.namespace)
            and record.id.startswith(self.prefix)
            and (self.match is None or _looks_like(self.match, record.id))
            and (self.older_than is None or now - record.last_activity > self.older_than)
            and (self.younger_than is None or now - record.last_activity <= self.younger_than)
            and (self.over is None or is_over(record, now) is self.over)
            and (self.larger_than is None or weight_of(record) > self.larger_than)
        )

    def __bool__(self) -> bool:
        """Whether anything was said."""
        return self != Selection()


async def selected(tender: Tender, selection: Selection) -> AsyncGenerator[Record]:
    """The records that are meant, streamed. Raises `SessionUnreadable` after the last of them."""
    async with aclosing(tender.records(selection.begin)) as records:
        async for record in records:
            if selection.has(record, tender.now()):
                yield record


def is_over(record: Record, now: int) -> bool:
    """Whether the next event begins a new session."""
    return record.format == FORMAT_OVER or record.expired(now)


def weight_of(record: Record) -> int:
    """How many bytes a record has, as most stores keep it; without other parts of its history."""
    return len(record.encode())


def selecting(*, by_state: bool = True) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Give a command the options that select sessions: its `selection`.

    `by_state`: also those by what changes while time goes by.
    """

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(command)
        def with_selection(**options: Any) -> Any:
            fields = {
                each: options.pop(each) for each in Selection.__struct_fields__ if each in options
            }
            return command(selection=_checked(Selection(**fields)), **options)

        for option in reversed(BY_ID + (BY_STATE if by_state else [])):
            with_selection = option(with_selection)
        return with_selection

    return decorate


BY_ID: Final = [
    click.option(
        "--channel",
        "channels",
        multiple=True,
        metavar="NAME",
        help="Those of one channel, such as telegram. May be repeated.",
    ),
    click.option(
        "--namespace",
        metavar="TEXT",
        help="Those of the bot with this namespace; '' is the one without.",
    ),
    click.option("--prefix", default="", metavar="TEXT", help="Those whose id starts with it."),
    click.option(
        "--match",
        metavar="PATTERN",
        help="Those whose whole id looks like it: * is any text, ? one sign, [ab] one of these.",
    ),
]
BY_STATE: Final = [
    click.option(
        "--older-than",
        type=span,
        metavar="SPAN",
        help="Those last active longer ago: 90m, 12h, 30d, 2w, 1y.",
    ),
    click.option("--younger-than", type=span, metavar="SPAN", help="Those last active since then."),
    click.option(
        "--larger-than", type=size, metavar="SIZE", help="Those of more bytes: 900, 64k, 1M."
    ),
    click.option("--expired/--live", "over", default=None, help="Those that are over, or are not."),
    click.option(
        "--aside",
        is_flag=True,
        help="Records that could not be read and were kept aside, rather than sessions.",
    ),
]


def _checked(selection: Selection) -> Selection:
    if selection.namespace:
        check_name(selection.namespace, "namespace")
    if selection.match == "":
        raise ConfigurationError("--match '' looks like no id: '*' is every one.")
    return selection


_patterns: dict[str, re.Pattern[str]] = {}


def _looks_like(pattern: str, text: str) -> bool:
    """As `fnmatchcase`; what it compiles, it would forget if there were many."""
    if pattern not in _patterns:
        _patterns[pattern] = re.compile(translate(pattern))
    return _patterns[pattern].match(text) is not None
