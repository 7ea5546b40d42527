"""The store: whether it does what a turn asks of it, and how long that takes."""

from __future__ import annotations

import secrets
import statistics
import time
from typing import TYPE_CHECKING, Final

from barback.cli.doctor.places import look_at_file, look_at_folder, look_where_it_will_be
from barback.cli.doctor.servers import look_at_server
from barback.cli.words import without_secrets
from barback.errors import BarbackError, SessionStoreUnavailable
from barback.record import Record, new_version
from barback.stores.base import GRACE, LeasedStore, ListedStore, SessionStore, new_lease
from barback.stores.local import LocalLeases
from barback.stores.memory import MemorySessionStore

if TYPE_CHECKING:
    from barback.cli.doctor.findings import Findings

__all__ = ["driver_of", "look_at_store"]

ROUNDS: Final = 5
SLOW: Final = 100.0  # milliseconds of a turn's two trips
TERM: Final = 10.0


def driver_of(store: LeasedStore | SessionStore) -> LeasedStore | SessionStore:
    """The driver itself, where only its leases are another's."""
    return store.store if isinstance(store, LocalLeases) else store


async def look_at_store(findings: Findings, store: LeasedStore, prefix: str) -> None:
    """See that it can be opened, and that a session can be written, read and destroyed.

    `prefix`: what stands before the ids of the bot.
    """
    driver = driver_of(store)
    if isinstance(driver, MemorySessionStore):
        says = "Sessions are in memory: they end with the process, and no other sees them."
        findings.warn("store", says, "Give the bot session_store='sqlite:///sessions.db', or so.")
        return
    try:
        await driver.must_exist()
    except SessionStoreUnavailable as error:
        look_where_it_will_be(findings, driver.where, without_secrets(error))
        return
    began = time.perf_counter()
    try:
        await store.acquire()
    except BarbackError as error:
        # What is wrong with a file, the error says itself.
        here = driver.name in {"file", "sqlite"}
        advice = "" if here else "See that its server runs, and that the address is right."
        findings.fail("store", without_secrets(error), advice)
        return
    try:
        opened = (time.perf_counter() - began) * 1000
        findings.ok("store", f"{driver!r}, opened in {opened:.0f} ms")
        await _look_at_turns(findings, store, prefix)
        if isinstance(driver, LeasedStore | ListedStore):
            await _look_behind(findings, driver)
        else:
            says = "It cannot list its sessions: none are swept, and barback sessions shows none."
            findings.warn("listing", says, "Derive the driver from ListedStore.")
    finally:
        await store.relinquish()


async def _look_at_turns(findings: Findings, store: LeasedStore, prefix: str) -> None:
    try:
        taken = [
            await _turn(store, f"{prefix}doctor:{secrets.token_hex(8)}") for _ in range(ROUNDS)
        ]
    except BarbackError as error:
        findings.fail(
            "turns", without_secrets(error), "See what the store's server has in its log."
        )
        return
    if None in taken:
        findings.fail("turns", "A session does not come back as it was written.")
        return
    middle = statistics.median(filter(None, taken))
    says = f"checkout and commit took {middle:.1f} ms, the middle of {ROUNDS}"
    if middle > SLOW:
        advice = "No turn is quicker than that: bring bot and store nearer to each other."
        findings.warn("turns", f"{says}.", advice)
    else:
        findings.ok("turns", says)


async def _turn(store: LeasedStore, session_id: str) -> float | None:
    """Milliseconds that a turn of a session of our own took, of which nothing is left.

    None, if it does not come back as it was written.
    """
    now = time.time_ns() // 1_000_000
    record = Record(
        id=session_id,
        version=new_version(),
        state=b'{"doctor":true}',
        created_at=now,
        last_activity=now,
        expires_at=now + GRACE,
    )
    lease = new_lease(session_id, TERM)
    try:
        began = time.perf_counter()
        await store.checkout(session_id, lease)
        await store.commit(record, lease)
        taken = (time.perf_counter() - began) * 1000
        again = new_lease(session_id, TERM)
        found = await store.checkout(session_id, again)
    finally:
        await store.destroy(session_id, None)
    return taken if found == record else None


async def _look_behind(findings: Findings, driver: LeasedStore | SessionStore) -> None:
    """At what the driver keeps its sessions in."""
    if driver.name == "file":
        look_at_folder(findings, driver.where)
    elif driver.name == "sqlite":
        look_at_file(findings, driver.where)
    else:
        try:
            await look_at_server(findings, driver)
        except Exception as error:  # noqa: BLE001 - of the server's client
            says = (
                without_secrets(error) if isinstance(error, BarbackError) else type(error).__name__
            )
            findings.warn("server", f"It did not tell of itself: {says}.", "The store works.")
