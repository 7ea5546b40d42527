"""Telemetry: what a bot does, as spans and metrics. It needs the extra `telemetry`."""

from barback.telemetry.telemetry import Telemetry

__all__ = ["Telemetry"]
