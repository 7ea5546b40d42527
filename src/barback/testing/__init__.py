"""For your tests: talk to a bot, move its clock, hold a store to its contract, make it fail.

`async def` tests run by themselves: `barback.testing.plugin` is a pytest plugin that barback
brings along. The rest is loaded when it is asked for.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from barback.testing.clock import Clock
    from barback.testing.contract import ListedStoreContract, StoreContract
    from barback.testing.crashing import Crash, CrashPoints, CrashRunError, crash_at, crashes
    from barback.testing.faults import Chances, FaultyStore
    from barback.testing.history import Effect, HistoryError, TurnHistory, TurnRecord, check_history
    from barback.testing.interleaving import Stuck, explore
    from barback.testing.line import FakeLine, line_error
    from barback.testing.messenger import FakeMessenger
    from barback.testing.meta import graph_error
    from barback.testing.platform import Call, Delivery, FakePlatform
    from barback.testing.proxy import FaultProxy
    from barback.testing.simulator import Person, Sent, SilentClient, Simulator
    from barback.testing.slack import FakeSlack, slack_error
    from barback.testing.telegram import FakeTelegram, telegram_error
    from barback.testing.viber import FakeViber, viber_error
    from barback.testing.whatsapp import FakeWhatsApp

__all__ = [
    "Call",
    "Chances",
    "Clock",
    "Crash",
    "CrashPoints",
    "CrashRunError",
    "Delivery",
    "Effect",
    "FakeLine",
    "FakeMessenger",
    "FakePlatform",
    "FakeSlack",
    "FakeTelegram",
    "FakeViber",
    "FakeWhatsApp",
    "FaultProxy",
    "FaultyStore",
    "HistoryError",
    "ListedStoreContract",
    "Person",
    "Sent",
    "SilentClient",
    "Simulator",
    "StoreContract",
    "Stuck",
    "TurnHistory",
    "TurnRecord",
    "check_history",
    "crash_at",
    "crashes",
    "explore",
    "graph_error",
    "line_error",
    "slack_error",
    "telegram_error",
    "viber_error",
]


_HOMES = {
    "Call": "platform",
    "Chances": "faults",
    "Clock": "clock",
    "Crash": "crashing",
    "CrashPoints": "crashing",
    "CrashRunError": "crashing",
    "Delivery": "platform",
    "Effect": "history",
    "FakeMessenger": "messenger",
    "FakeLine": "line",
    "FakePlatform": "platform",
    "FakeSlack": "slack",
    "FakeTelegram": "telegram",
    "FakeWhatsApp": "whatsapp",
    "FakeViber": "viber",
    "FaultProxy": "proxy",
    "FaultyStore": "faults",
    "HistoryError": "history",
    "ListedStoreContract": "contract",
    "StoreContract": "contract",
    "Stuck": "interleaving",
    "TurnHistory": "history",
    "TurnRecord": "history",
    "check_history": "history",
    "crash_at": "crashing",
    "crashes": "crashing",
    "explore": "interleaving",
    "graph_error": "meta",
    "line_error": "line",
    "slack_error": "slack",
    "telegram_error": "telegram",
    "viber_error": "viber",
}

if not TYPE_CHECKING:  # or else every misspelt name would be some object to a type checker

    def __getattr__(name: str) -> Any:
        """Load what is asked for: pytest imports this package at its start, for the plugin."""
        if name not in __all__:
            message = f"module {__name__!r} has no attribute {name!r}"
            raise AttributeError(message, name=name)
        from importlib import import_module  # noqa: PLC0415 - see above

        home = _HOMES.get(name, "simulator")
        return getattr(import_module(f"barback.testing.{home}"), name)
