"""The MongoDB store. `store` is the driver; what it is made of is beside it."""

from barback.stores.mongo.store import MongoSessionStore

__all__ = ["MongoSessionStore"]
