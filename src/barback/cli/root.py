"""The top of the command: its groups, each in a file of its own, and how errors are told."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Final

from barback.cli.words import INTERRUPTED, complain, mute, note
from barback.errors import BarbackError, ConfigurationError, ListingUnsupported
from barback.extras import needs_extra

with needs_extra("cli"):
    import click
    from click.shell_completion import CompletionItem

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["run"]

GROUPS: Final = {
    "dev": "Try a bot on a web page, and see what its turns do.",
    "doctor": "Find out what is wrong with a bot, its store, or where it is served.",
    "new": "Make the project of a new bot.",
    "run": "Serve a bot's webhooks.",
    "sessions": "Look at the sessions of a store, and change them.",
    "store": "Copy and prepare stores of sessions.",
    "webhook": "Tell a platform where a bot's webhook is.",
}
"""Each group or command: its name is its module's and its function's too. With its line of help."""


class Groups(click.Group):
    """The groups of commands, of which only the one that is asked for is loaded."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """See `click.Group.list_commands`."""
        return sorted({*super().list_commands(ctx), *GROUPS})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """See `click.Group.get_command`."""
        if cmd_name not in GROUPS:
            return super().get_command(ctx, cmd_name)
        group: click.Command = getattr(import_module(f"barback.cli.{cmd_name}"), cmd_name)
        return group

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """See `click.Group.shell_complete`. A group whose extra is not installed hides no other."""
        found = [
            CompletionItem(name, help=about)
            for name, about in sorted(GROUPS.items())
            if name.startswith(incomplete)
        ]
        return found + click.Command.shell_complete(self, ctx, incomplete)

    def format_commands(
        self,
        ctx: click.Context,  # noqa: ARG002 - click gives it
        formatter: click.HelpFormatter,
    ) -> None:
        """See `click.Group.format_commands`. The lines are known without loading a group."""
        with formatter.section("Commands"):
            formatter.write_dl(sorted(GROUPS.items()))


@click.group(cls=Groups, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="barback", message="%(package)s %(version)s")
def barback() -> None:
    """Chat bots that remember: what one does with them at the command line."""


def run(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says; an error is a sentence on standard error."""
    try:
        return _run(arguments)
    except OSError as error:  # most likely of standard output, when a help text is written to it
        mute(sys.stdout)
        complain(f"The system refused to go on: {error.strerror or error}.")
        return 1


def _run(arguments: Sequence[str] | None) -> int:
    try:
        status = barback.main(
            None if arguments is None else list(arguments),
            prog_name="barback",
            standalone_mode=False,
        )
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return error.exit_code
    except click.UsageError as error:
        advice = "" if error.ctx is None else f"See {error.ctx.command_path} --help."
        complain(f"{error.format_message().rstrip('.')}.", advice)
        return error.exit_code
    except click.ClickException as error:
        complain(error.format_message())
        return error.exit_code
    except click.Abort:
        note("Interrupted.")
        return INTERRUPTED
    except BarbackError as error:
        complain(error)
        return 2 if isinstance(error, (ConfigurationError, ListingUnsupported)) else 1
    return status if isinstance(status, int) else 0
