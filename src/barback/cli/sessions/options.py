"""Options that several of the commands have: the store, the keys, how much is asked for."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from barback.extras import needs_extra

with needs_extra("cli"):
    import click

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "dry_run_option",
    "json_option",
    "keys_option",
    "namespace_option",
    "scope_option",
    "size",
    "span",
    "store_option",
    "yes_option",
]

SCOPES: Final = ("member", "conversation", "user", "thread")

store_option = click.option(
    "--store",
    "url",
    required=True,
    envvar="BARBACK_STORE",
    metavar="URL",
    help="The store. That in the variable BARBACK_STORE unless given.",
)
namespace_option = click.option(
    "--namespace",
    metavar="TEXT",
    help="Only the sessions of the bot with this namespace; '' is the one without. Those of every "
    "bot unless given.",
)
scope_option = click.option(
    "--scope",
    type=click.Choice(SCOPES),
    default="member",
    show_default=True,
    help="The bot's: whose a session is that no event has changed.",
)
keys_option = click.option(
    "--keys",
    "keys_file",
    metavar="FILE",
    help="The file of the bot's keys, where states are encrypted. Those in the variable "
    "BARBACK_KEYS unless given, if that is set.",
)
dry_run_option = click.option("--dry-run", is_flag=True, help="Only tell what would be done.")
yes_option = click.option("--yes", is_flag=True, help="Do not ask.")
json_option = click.option("--json", "as_json", is_flag=True, help="As JSON, for programs.")


UNITS_OF_TIME: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800, "y": 31_536_000}
UNITS_OF_SIZE: Final = {"": 1, "b": 1, "k": 1024, "m": 1024**2, "g": 1024**3}


def span(text: str) -> int:
    """A span of time, such as 90m or 30d, in milliseconds."""
    return int(_amount(text, UNITS_OF_TIME, "a number and s, m, h, d, w or y, as in 30d") * 1000)


def size(text: str) -> int:
    """A size, such as 64k, in bytes."""
    return int(_amount(text, UNITS_OF_SIZE, "a number of bytes, or of k, M or G, as in 64k"))


def _amount(text: str, units: Mapping[str, int], form: str) -> float:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([a-z]?)", text.strip().lower())
    if found is None or found[2] not in units:
        raise click.BadParameter(f"write {form}.")
    return float(found[1]) * units[found[2]]
