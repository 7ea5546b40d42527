"""Asking: what a PostgreSQL store asks with."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio

    from barback.stores.postgres.lines import Lines
    from barback.stores.postgres.requests import Request
    from barback.stores.postgres.server import Server
    from barback.stores.postgres.sql import Statements

__all__ = ["Asking"]


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
        self.loop: asyncio.AbstractEventLoop | None = None if lines is None else lines.loop

    def ask(self, request: Request) -> None:
        """Have it answered in time, whether or not anybody awaits it."""
        if self.lines is None:
            request.unsent("is not open: use `async with store`, or await its `init()` first")
        else:
            self.lines.ask(request)
