"""Listing: every record that a Redis store has, from every server that keeps some."""

from __future__ import annotations

import asyncio
import re
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Final

from barback.errors import SessionUnreadable
from barback.extras import needs_extra
from barback.stores.redis.asking import code_of
from barback.stores.redis.commands import pack
from barback.stores.redis.wire import LinkDown

with needs_extra("redis"):
    from hiredis import ReplyError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from barback.record import Record
    from barback.stores.redis.asking import Asking
    from barback.stores.redis.link import Link

__all__ = ["listed"]

PAGE: Final = 50  # records read at a time
SCANNED: Final = 500  # keys the server looks at for one page


async def listed(asking: Asking, prefix: str) -> AsyncGenerator[Record | SessionUnreadable]:
    """Each record of an id that starts so, once, though the server may name a key several times."""
    pattern = re.sub(r"([*?\[\]\\])", r"\\\1", asking.begins(prefix)) + "*}"
    seen: set[bytes] = set()
    try:
        before = await asking.servers.listed()
        for link in before:
            async with aclosing(_scanned(link, pattern)) as found:
                async for keys in found:
                    new = [key for key in dict.fromkeys(keys) if key not in seen]
                    seen.update(new)
                    for page in range(0, len(new), PAGE):
                        for record in await _read(asking, link, new[page : page + PAGE]):
                            yield record
        _check_unmoved(before, await asking.servers.listed())
    except (LinkDown, ReplyError) as error:
        failure = asking.failure(error)
        raise failure from failure.__cause__


async def _scanned(link: Link, pattern: str) -> AsyncGenerator[list[bytes]]:
    """Every key, at least once. What has been listed already is known to one connection only."""
    cursor, connection = b"0", 0
    while True:
        scan = pack("SCAN", cursor, "MATCH", pattern, "COUNT", SCANNED)
        cursor, keys = _checked(await link.ask(scan))
        connection = connection or link.connections
        if link.connections != connection:
            raise LinkDown(f"lost its connection to {link.where} while it listed", sent=False)
        yield keys
        if cursor == b"0":
            break


async def _read(asking: Asking, link: Link, keys: list[bytes]) -> list[Record | SessionUnreadable]:
    """Records by their keys, as the server that named them has them, or who took them over."""
    replies = await asyncio.gather(*(link.ask(pack("GET", key)) for key in keys))
    found: list[Record | SessionUnreadable] = []
    for key, answer in zip(keys, replies, strict=True):
        reply = answer
        if code_of(reply) in {"MOVED", "ASK"}:
            reply = await asking.servers.ask(key, pack("GET", key))
        if reply is None:
            continue
        session_id = asking.session_id(key)
        try:
            if code_of(reply) == "WRONGTYPE":
                raise asking.failure(reply, session_id) from reply
            found.append(asking.record(_checked(reply), session_id))
        except SessionUnreadable as unreadable:
            found.append(unreadable)
    return found


def _check_unmoved(before: dict[Link, list[bytes]], after: dict[Link, list[bytes]]) -> None:
    if before != after:
        what = "is a cluster that moved sessions between its servers while they were listed"
        raise LinkDown(what, sent=False)


def _checked(reply: Any) -> Any:
    if isinstance(reply, ReplyError):
        raise reply
    return reply
