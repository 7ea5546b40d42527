"""Slack: what a promise of "in time" is given by tests, which are none of speed."""

from __future__ import annotations

SLACK = 20.0
"""Seconds that a laden machine may add to a time that is promised. What hangs takes longer."""
