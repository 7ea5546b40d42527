"""The file store. `store` is the driver; what it is made of is beside it."""

from barback.stores.file.store import FileSessionStore

__all__ = ["FileSessionStore"]
