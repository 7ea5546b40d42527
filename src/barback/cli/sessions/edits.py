"""`barback sessions edit` and `set`: a session's state is changed by hand."""

from __future__ import annotations

import json
import re
import sys
from copy import deepcopy
from typing import TYPE_CHECKING, NamedTuple

from barback.cli.sessions.contents import pretty
from barback.cli.sessions.hand import Hand
from barback.cli.sessions.opening import keys_from, states_with
from barback.cli.sessions.options import (
    dry_run_option,
    keys_option,
    store_option,
    yes_option,
)
from barback.cli.sessions.paths import lines_of, parsed, put, removed
from barback.cli.sessions.telling import ask, see_who_is_there
from barback.cli.words import complain, named, note, shown, tell
from barback.differences import Path, differences
from barback.errors import BarbackError, StateValueError
from barback.extras import needs_extra

with needs_extra("cli"):
    import click

if TYPE_CHECKING:
    from barback.state import State

__all__ = ["edit", "set_command"]

id_argument = click.argument("session_id", metavar="ID")
bot_option = click.option(
    "--bot",
    metavar="MODULE:BOT",
    help="See that the state fits the type of this bot's, before it is written.",
)


@click.command()
@id_argument
@store_option
@keys_option
@bot_option
@dry_run_option
@yes_option
def edit(  # noqa: PLR0913 - options, by keyword
    session_id: str,
    url: str,
    *,
    keys_file: str | None,
    bot: str | None,
    dry_run: bool,
    yes: bool,
) -> int:
    """Edit a session's state in your editor.

    As JSON, in the one that VISUAL or EDITOR names. Nobody waits while you think: no lease is held.
    If the state has changed when you are done, nothing is written; you are shown what has, and may
    edit again. What is no JSON, or no state, comes back to the editor too. What you have changed is
    shown before it is written.

    To be edited is no activity: no time of the session moves.

    The exit status is 0 if it was written, or there was nothing to write; 1 if it was not.
    """
    if not (yes or dry_run):
        see_who_is_there()
    hand = Hand(session_id, url, states_with(keys_from(keys_file)), bot)
    state = hand.read()
    text = "" if state is None else f"{pretty(state)}\n"
    while state is not None:
        text, wish = _edited(hand, text)
        if wish is None or not _differ(state, wish):
            note("Nothing was changed.")
            return hand.status
        if dry_run:
            return 0
        if not (yes or ask(f"Write that to {named(session_id)} in {shown(url)}?")):
            return 1
        state = _written(hand, wish, state)
    return hand.status


@click.command(name="set")
@id_argument
@click.argument("assignments", nargs=-1, metavar="[PATH=VALUE]...")
@click.option(
    "--unset", multiple=True, metavar="PATH", help="Take away what is there. May be repeated."
)
@store_option
@keys_option
@bot_option
@dry_run_option
@yes_option
def set_command(  # noqa: PLR0913 - options, by keyword
    session_id: str,
    assignments: tuple[str, ...],
    unset: tuple[str, ...],
    url: str,
    *,
    keys_file: str | None,
    bot: str | None,
    dry_run: bool,
    yes: bool,
) -> int:
    r"""Set values in a session's state.

    A PATH is a key of the state, or keys and places with dots between: cart.0.price. A VALUE is
    JSON, so that a text needs its quotes: nickname='"Tim"'. A backslash takes a dot, or an equals
    sign, as part of a key. Dicts on the way are made.

    A turn that is under way is waited for. To be set is no activity: no time of the session moves.

    The exit status is 0 if it was written, or was so already; 1 if it was not.
    """
    wish = _Wish(list(map(_assignment, assignments)), list(map(parsed, unset)))
    if not any(wish):
        raise click.UsageError("Say what to set: PATH=VALUE, or --unset PATH.")
    hand = Hand(session_id, url, states_with(keys_from(keys_file)), bot, wish.whole)
    if dry_run or not yes:
        if not dry_run:
            see_who_is_there()
        state = hand.read()
        if state is None:
            return hand.status
        if not _differ(state, hand.checked(wish.granted(deepcopy(state)))):
            note("It is so already.")
            return 0
        if dry_run:
            return 0
        if not ask(f"Write that to {named(session_id)} in {shown(url)}?"):
            return 1
    hand.write(wish.granted)
    return hand.status


class _Wish(NamedTuple):
    """What is to be set, as JSON, and what is to be taken away."""

    put: list[tuple[Path, str]]
    removed: list[Path]

    @property
    def whole(self) -> set[str]:
        """Keys of the state itself."""
        paths = [*(path for path, _ in self.put), *self.removed]
        return {str(path[0]) for path in paths if len(path) == 1}

    def granted(self, state: State) -> State:
        """The state, changed so."""
        for path, text in self.put:
            put(state, path, json.loads(text))
        for path in self.removed:
            removed(state, path)
        return state


def _edited(hand: Hand, text: str) -> tuple[str, State | None]:
    """What comes out of the editor; with no state, where nothing was changed, or given up."""
    hand.status = 0
    while True:
        edited = click.edit(text, extension=".json")
        if edited is None:
            return text, None
        text = edited
        try:
            return text, hand.checked(_state_of(text))
        except BarbackError as error:
            complain(error)
            if not _again():
                hand.status = 1
                return text, None


def _written(hand: Hand, wish: State, base: State) -> State | None:
    """Write it; the state that is there instead, where somebody wants to edit that."""
    meanwhile = hand.write(lambda _: wish, base=base)
    if meanwhile is None:
        return None
    note("Nothing was written: the session has changed meanwhile, like this.")
    _differ(base, meanwhile)
    hand.status = 1
    return meanwhile if _again() else None


def _state_of(text: str) -> State:
    """What was edited. An error tells where it is wrong, and nothing of it."""
    try:
        state = json.loads(text)
    except (ValueError, RecursionError) as error:
        where = f": {error}" if isinstance(error, json.JSONDecodeError) else ""
        raise StateValueError(f"That is no JSON{where}.") from None
    if not isinstance(state, dict):
        raise StateValueError("A state is a JSON object, with braces around it.")
    return state


def _assignment(text: str) -> tuple[Path, str]:
    found = re.fullmatch(r"((?:\\.|[^=\\])+)=(.*)", text, re.DOTALL)
    if found is None:
        raise click.UsageError("Write PATH=VALUE, as in asking=false.")
    try:
        json.loads(found[2])
    except ValueError:
        message = (
            f"What is to be set as {found[1]} is no JSON. A text needs quotes, and the shell some "
            f"more: {found[1]}='\"…\"'."
        )
        raise click.UsageError(message) from None
    return parsed(found[1]), found[2]


def _differ(before: State, after: State) -> bool:
    """Show where they do."""
    found = list(differences(before, after))
    for each in found:
        tell(lines_of(each))
    return bool(found)


def _again() -> bool:
    """Whether whoever is there wants to edit again."""
    return sys.stdin.isatty() and ask("Edit again?")
