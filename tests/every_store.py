"""Every store that processes can share, by name, and a URL on it that is a test's own."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

__all__ = ["EVERY", "SHARED", "own_place", "own_url", "with_options"]

SHARED: Final = (
    "file",
    "sqlite",
    "redis",
    "redis_cluster",
    "redis_sentinel",
    "mongodb",
    "postgres",
)

EVERY: Final = ("memory", *SHARED)


def own_url(store: str, request: pytest.FixtureRequest, folder: Path) -> str:
    """The URL of a place in `store` where nobody else is; its server is started at need."""
    if store == "memory":  # of which there is one for each bot that opens it
        return "memory://"
    if store == "file":
        return f"file:{folder}/sessions"
    if store == "sqlite":
        return f"sqlite:///{folder}/sessions.db"
    url: str = request.getfixturevalue(f"{store}_url")
    return own_place(url)


def own_place(url: str) -> str:
    """The same server, with a prefix, a collection or a table that nobody else uses."""
    name = f"test_{secrets.token_hex(6)}"
    if url.startswith("mongodb"):
        return with_options(url, collection_name=name)
    if url.startswith("postgres"):
        return with_options(url, table=name)
    return with_options(url, prefix=f"{name}:")


def with_options(url: str, **options: str) -> str:
    """The URL with more options; their values need no quoting."""
    more = "&".join(f"{name}={value}" for name, value in options.items())
    return f"{url}{'&' if '?' in url else '?'}{more}"
