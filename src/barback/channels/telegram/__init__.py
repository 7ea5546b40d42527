"""Telegram: by webhook or by long polling."""

from barback.channels.multipart import InputFile
from barback.channels.telegram.channel import TelegramChannel
from barback.channels.telegram.client import TelegramClient
from barback.channels.telegram.place import Place

__all__ = ["InputFile", "Place", "TelegramChannel", "TelegramClient"]
