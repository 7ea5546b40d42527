"""WhatsAppClient: the calls of the Cloud API.

Sources: https://github.com/facebook/openapi (business-messaging-api),
https://developers.facebook.com/documentation/business-messaging/whatsapp/support/error-codes,
https://developers.facebook.com/documentation/business-messaging/whatsapp/typing-indicators.
"""

from __future__ import annotations

import mimetypes
from typing import TYPE_CHECKING, Any, Final

from barback.channels.meta.client import DOWNLOAD, GraphClient

if TYPE_CHECKING:
    from barback.channels.http import HttpRequest
    from barback.channels.multipart import InputFile

__all__ = ["LONGEST", "WhatsAppClient"]

LONGEST: Final = 4096
"""Characters of a text:
https://developers.facebook.com/documentation/business-messaging/whatsapp/messages/text-messages.
They are counted here as UTF-16 code units, which are no fewer."""

OF_PRODUCT: Final = frozenset(
    {
        "block_users",
        "calls",
        "groups",
        "marketing_messages",
        "media",
        "messages",
        "register",
        "whatsapp_business_profile",
    }
)
"""Calls that must say which product they mean."""


class WhatsAppClient(GraphClient):
    """The Cloud API: `await client.send_message(to=…, type="text", text={"body": …})`.

    `operations` are what is called most often; whatever else the Graph API has can be called too,
    by `client.call("POST /{phone_number_id}/calls", …)`. `phone_number_id` and `waba_id` are those
    that the channel knows, unless given; `messaging_product` is filled in. See `GraphClient`.
    """

    operations = {  # noqa: RUF012 - it is never changed
        "send_message": "POST /{phone_number_id}/messages",
        "get_media": "GET /{media_id}",
        "delete_media": "DELETE /{media_id}",
        "get_business_profile": "GET /{phone_number_id}/whatsapp_business_profile",
        "update_business_profile": "POST /{phone_number_id}/whatsapp_business_profile",
        "get_phone_number": "GET /{phone_number_id}",
        "get_phone_numbers": "GET /{waba_id}/phone_numbers",
        "register": "POST /{phone_number_id}/register",
        "deregister": "POST /{phone_number_id}/deregister",
        "get_templates": "GET /{waba_id}/message_templates",
        "create_template": "POST /{waba_id}/message_templates",
        "update_template": "POST /{template_id}",
        "delete_template": "DELETE /{waba_id}/message_templates",
        "get_blocked_users": "GET /{phone_number_id}/block_users",
        "block_users": "POST /{phone_number_id}/block_users",
        "unblock_users": "DELETE /{phone_number_id}/block_users",
        "create_group": "POST /{phone_number_id}/groups",
        "get_groups": "GET /{phone_number_id}/groups",
        "get_group": "GET /{group_id}",
        "update_group": "POST /{group_id}",
        "delete_group": "DELETE /{group_id}",
        "get_flows": "GET /{waba_id}/flows",
        "subscribe_app": "POST /{waba_id}/subscribed_apps",
        "get_subscribed_apps": "GET /{waba_id}/subscribed_apps",
        "unsubscribe_app": "DELETE /{waba_id}/subscribed_apps",
    }
    # Of the app, of an account, of a number, and of a number with one person.
    throttled = GraphClient.throttled | {80007, 130429, 131056}
    hints = {  # noqa: RUF012 - it is never changed
        (131047, 0): (
            "The person has not written for 24 hours: only a template may be sent, "
            "with send_template."
        ),
    }

    async def request(self, method: str, params: dict[str, Any]) -> HttpRequest:
        """See `PlatformClient.request`."""
        if not method.startswith("GET") and method.rpartition("/")[2] in OF_PRODUCT:
            params = {"messaging_product": "whatsapp", **params}
        return await super().request(method, params)

    async def mark_as_read(self, message_id: str, **params: Any) -> Any:
        """Show that a message, and those before it, has been read."""
        return await self.send_message(status="read", message_id=message_id, **params)

    async def upload_media(self, file: InputFile, **params: Any) -> str:
        """Upload a file, and return its id. It may be sent for 30 days. Raises `ChannelError`."""
        kind = mimetypes.guess_type(file.shown_name)[0] or "application/octet-stream"
        told = {"type": kind, **params}
        found = await self.call("POST /{phone_number_id}/media", file=file, **told)
        return str(found["id"]) if isinstance(found, dict) and "id" in found else ""

    async def download_media(self, media_id: str, **params: Any) -> bytes:
        """What is in a file that somebody has sent. Raises `ChannelError`."""
        found = await self.get_media(media_id=media_id, **params)
        url = found.get("url") if isinstance(found, dict) else None
        content: bytes = await self.call(DOWNLOAD, url=url)
        return content
