"""Servers: what they promise to keep, and whether their clock is ours."""

from __future__ import annotations

import time
from datetime import UTC
from typing import TYPE_CHECKING, Any, Final

from barback.stores.base import SKEW

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from barback.cli.doctor.findings import Findings
    from barback.stores.base import LeasedStore, SessionStore

__all__ = ["look_at_server"]

# Drivers have no word for what is asked here once, by hand: it is asked of what they are made of.
# ruff: noqa: SLF001


async def look_at_server(findings: Findings, driver: LeasedStore | SessionStore) -> None:
    """At the server of a store of barback's; of another's driver nothing is known."""
    look = LOOKS.get(driver.name)
    if look is not None and type(driver).__module__.startswith("barback.stores."):
        await look(findings, driver)


async def _redis(findings: Findings, store: Any) -> None:
    from barback.stores.redis.commands import pack  # noqa: PLC0415 - it needs an extra

    for link in await store._asking.servers.listed():
        began = time.time()
        answered = await link.ask(pack("TIME"))
        info = await link.ask(pack("INFO"))
        if not (isinstance(answered, list) and isinstance(info, bytes)):
            says = f"{link.where} does not let this user ask for its settings."
            findings.warn("server", says, "Look at appendonly and maxmemory-policy yourself.")
            continue
        _clock(findings, began, int(answered[0]) + int(answered[1]) / 1e6)
        facts = dict(
            line.split(":", 1)
            for line in info.decode(errors="replace").split("\r\n")
            if ":" in line
        )
        number = facts.get("valkey_version") or facts.get("redis_version", "?")
        findings.ok("server", f"{link.where}, version {number}, {facts.get('role', '?')}")
        if facts.get("aof_enabled") == "1":
            findings.ok("durability", "appendonly yes: see appendfsync for how much a crash loses")
        else:
            says = "appendonly is off: a crash of the server loses all since its last snapshot."
            findings.warn(
                "durability", says, "CONFIG SET appendonly yes, and in its configuration."
            )
        policy = facts.get("maxmemory_policy", "noeviction")
        if policy == "noeviction" or facts.get("maxmemory") == "0":
            findings.ok("eviction", f"none (maxmemory-policy {policy})")
        else:
            says = f"maxmemory-policy is {policy}: the server may forget sessions, and leases."
            findings.fail("eviction", says, "CONFIG SET maxmemory-policy noeviction.")


async def _postgres(findings: Findings, store: Any) -> None:
    from barback.stores.postgres.pipeline import Statement  # noqa: PLC0415 - it needs an extra

    sql = (
        b"SELECT extract(epoch FROM clock_timestamp())::text, current_setting('server_version'),"
        b" current_setting('fsync'), current_setting('synchronous_commit')"
    )
    began = time.time()
    rows = await store._query(Statement(sql))
    clock, number, fsync, waits = (bytes(each).decode() for each in rows[0])
    _clock(findings, began, float(clock))
    findings.ok("server", f"PostgreSQL {number}")
    if fsync == "on" and waits != "off":
        findings.ok("durability", f"fsync on, synchronous_commit {waits}")
    else:
        says = f"fsync is {fsync}, synchronous_commit {waits}: a crash may undo what was committed."
        findings.warn("durability", says, "Set both to on.")


async def _mongo(findings: Findings, store: Any) -> None:
    client = store._client
    began = time.time()
    hello = await client.admin.command("hello")
    if "localTime" in hello:
        clock = hello["localTime"]
        clock = clock.replace(tzinfo=clock.tzinfo or UTC)
        _clock(findings, began, clock.timestamp())
    number = (await client.admin.command("buildInfo")).get("version", "?")
    findings.ok("server", f"version {number}, {hello.get('setName') or 'no replica set'}")
    concern = store._collection(client).write_concern.document
    if concern.get("w") == "majority" and concern.get("j", True):
        findings.ok("durability", "commits wait for the journals of a majority")
    else:
        says = "Commits do not wait for the journals of a majority: a failover may lose some."
        findings.warn("durability", says, "Leave w and journal out of the URL.")


def _clock(findings: Findings, began: float, there: float) -> None:
    """Compare the server's clock, which was read since then, with this machine's."""
    now = time.time()
    away = max(began - there, there - now, 0.0)
    if away * 1000 <= SKEW:
        findings.ok("clock", f"the server's is within {max(away, (now - began)) * 1000:,.0f} ms")
    else:
        says = f"The server's is {away:,.1f} s away from this machine's."
        findings.warn("clock", says, "Sessions end by this machine's: set both by NTP.")


LOOKS: Final[dict[str, Callable[[Findings, Any], Awaitable[None]]]] = {
    "redis": _redis,
    "postgres": _postgres,
    "mongodb": _mongo,
}
