"""The SQLite store. `store` is the driver; what it is made of is beside it."""

from barback.stores.sqlite.store import SQLiteSessionStore

__all__ = ["SQLiteSessionStore"]
