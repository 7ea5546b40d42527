"""For your tests: talk to a bot, move its clock, hold a store to its contract.

`async def` tests run by themselves: `barback.testing.plugin` is a pytest plugin that barback
brings along. The rest is loaded when it is asked for.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from barback.testing.clock import Clock
    from barback.testing.contract import ListedStoreContract, StoreContract
    from barback.testing.simulator import Person, Sent, Simulator

__all__ = ["Clock", "ListedStoreContract", "Person", "Sent", "Simulator", "StoreContract"]


_HOMES = {
    "Clock": "barback.testing.clock",
    "ListedStoreContract": "barback.testing.contract",
    "StoreContract": "barback.testing.contract",
}

if not TYPE_CHECKING:  # or else every misspelt name would be some object to a type checker

    def __getattr__(name: str) -> Any:
        """Load what is asked for: pytest imports this package at its start, for the plugin."""
        if name not in __all__:
            message = f"module {__name__!r} has no attribute {name!r}"
            raise AttributeError(message, name=name)
        from importlib import import_module  # noqa: PLC0415 - see above

        return getattr(import_module(_HOMES.get(name, "barback.testing.simulator")), name)
