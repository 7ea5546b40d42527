"""The suite that every store passes: barback's own, and yours.

Derive from it in a test module, and give it one fixture: a fresh store, not yet opened, in which
there is nothing. Nothing else need be configured.

    import pytest

    from barback.testing import StoreContract


    class TestMyStore(StoreContract):
        @pytest.fixture
        def store(self, tmp_path):
            return MyStore(tmp_path / "sessions")

`store` may be a `SessionStore`, of four methods, or a `LeasedStore`. The contract speaks to
either as a bot does, so the first is wrapped in `LocalLeases`. For a store that can list what it
holds (every `LeasedStore`, and what derives from `ListedStore`) take `ListedStoreContract`.

Each test opens and closes the store itself, and its docstring is the rule that it checks. Four
things can be told by overriding them:

- `durable = False`: the store rightly forgets when it is closed.
- `async def damage(self, store, session_id)`: makes a record unreadable as it would happen to
  this store in truth; unless overridden, its state is replaced by broken JSON.
- `short_term`: seconds of a lease whose end is waited for: 0.1. The store has to answer within
  it; a slow one needs more.
- `patience`: seconds within which what has to happen by itself must have happened: 10. Nothing
  is waited for longer than twice that.

The whole contract takes less than five seconds on a store in memory. What it does not check are
processes: that several share the store, and that one is killed.
"""

from __future__ import annotations

from barback.testing.contract_leases import LeasesContract
from barback.testing.contract_listing import ListingContract
from barback.testing.contract_sessions import FourMethodsContract, SessionsContract
from barback.testing.contract_turns import TurnsContract
from barback.testing.contract_values import ValuesContract

__all__ = ["ListedStoreContract", "StoreContract"]


class StoreContract(
    ValuesContract, SessionsContract, FourMethodsContract, LeasesContract, TurnsContract
):
    """The contract of a `SessionStore` or a `LeasedStore`; give it a fixture `store`."""


class ListedStoreContract(StoreContract, ListingContract):
    """The same of a store that can also list what it holds."""
