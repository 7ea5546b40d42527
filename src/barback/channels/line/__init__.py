"""LINE: the Messaging API."""

from barback.channels.line.channel import LineChannel
from barback.channels.line.client import LineClient
from barback.channels.multipart import InputFile

__all__ = ["InputFile", "LineChannel", "LineClient"]
