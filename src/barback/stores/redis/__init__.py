"""The Redis and Valkey store. `store` is the driver; what it is made of is beside it."""

from barback.stores.redis.store import RedisSessionStore

__all__ = ["RedisSessionStore"]
