"""WhatsApp: the Cloud API of the WhatsApp Business Platform."""

from barback.channels.multipart import InputFile
from barback.channels.whatsapp.channel import WhatsAppChannel
from barback.channels.whatsapp.client import WhatsAppClient
from barback.channels.whatsapp.place import Place

__all__ = ["InputFile", "Place", "WhatsAppChannel", "WhatsAppClient"]
