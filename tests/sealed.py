"""A session of Tim's that holds a secret, and somebody who can write to the store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from barback import Bot, Keys

if TYPE_CHECKING:
    from barback import MemorySessionStore, Record

__all__ = ["HIDDEN", "NEW", "OLD", "TIM", "hidden_in", "remembering", "replaced", "stored"]

OLD, NEW = Keys.generate(), Keys.generate()
TIM: Final = "test:tim"
HIDDEN: Final = "Timotheus of Miletus"  # what nobody is to see


def stored(store: MemorySessionStore, session_id: str = TIM) -> Record:
    return store._records[session_id]


def replaced(store: MemorySessionStore, **fields: Any) -> Record:
    """Somebody who can write to the store changes Tim's record."""
    record = msgspec.structs.replace(stored(store), **fields)
    store._records[TIM] = record
    return record


async def remembering(store: MemorySessionStore, keys: Keys | None, **options: Any) -> Record:
    """A session of Tim's that holds a secret; its record."""
    async with Bot(session_store=store, encryption=keys, **options) as bot:
        async with bot.conversation(TIM) as context:
            context.set_state(name=HIDDEN)
    return stored(store)


def hidden_in(record: Record) -> bool:
    return HIDDEN.encode() in record.state
