"""What the platforms of Meta have in common: signatures, webhooks, the Graph API."""

from barback.channels.meta.channel import MetaChannel
from barback.channels.meta.client import GraphClient

__all__ = ["GraphClient", "MetaChannel"]
