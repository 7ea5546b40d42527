"""The PostgreSQL store. `store` is the driver; what it is made of is beside it."""

from barback.stores.postgres.store import PostgresSessionStore

__all__ = ["PostgresSessionStore"]
