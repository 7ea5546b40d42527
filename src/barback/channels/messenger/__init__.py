"""Messenger: the chats of Facebook pages."""

from barback.channels.messenger.channel import MessengerChannel
from barback.channels.messenger.client import MessengerClient
from barback.channels.messenger.place import Place
from barback.channels.multipart import InputFile

__all__ = ["InputFile", "MessengerChannel", "MessengerClient", "Place"]
