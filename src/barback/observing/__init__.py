"""Observing: what a bot does is told to others, who may look and change nothing.

A bot without observers does not load this, and pays nothing for it.
"""

from barback.observing.observer import Observer, Observers
from barback.observing.turn_seen import Place, Settled, Step, StepName, StoreCall, TurnSeen

__all__ = [
    "Observer",
    "Observers",
    "Place",
    "Settled",
    "Step",
    "StepName",
    "StoreCall",
    "TurnSeen",
]
