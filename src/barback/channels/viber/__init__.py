"""Viber: chatbots, by webhook."""

from barback.channels.viber.channel import ViberChannel
from barback.channels.viber.client import ViberClient
from barback.channels.viber.place import Place

__all__ = ["Place", "ViberChannel", "ViberClient"]
