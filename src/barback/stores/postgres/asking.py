"""Asking: what a PostgreSQL store asks with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from barback.stores import answers

if TYPE_CHECKING:
    from barback.stores.postgres.lines import Lines
    from barback.stores.postgres.requests import Request
    from barback.stores.postgres.server import Server
    from barback.stores.postgres.sql import Statements

__all__ = ["Asking"]

NOT_OPEN: Final = "is not open: use `async with store`, or await its `init()` first"


class Asking:
    """The SQL of a store, its words for what fails, and its lines as long as it is open.

    `store` is the store's name.
    """

    def __init__(
        self, sql: Statements, server: Server, store: str, lines: Lines | None = None
    ) -> None:
        self.sql = sql
        self.store = store
        self.told = server.told
        self.lines = lines

    def ask(self, request: Request) -> None:
        """Have it answered in time, whether or not anybody awaits it."""
        lines = self.lines
        if lines is None:
            request.unsent(NOT_OPEN)
        elif lines.inherited or request.answer.get_loop() is not lines.loop:
            request.unsent(answers.ELSEWHERE)
        else:
            lines.ask(request)
