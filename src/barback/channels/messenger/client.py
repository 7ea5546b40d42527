"""MessengerClient: the calls of the Messenger Platform.

Sources: https://developers.facebook.com/docs/messenger-platform/reference,
https://developers.facebook.com/documentation/business-messaging/messenger-platform/error-codes.
"""

from __future__ import annotations

from typing import Final

from barback.channels.meta.client import GraphClient

__all__ = ["LONGEST", "MessengerClient"]

LONGEST: Final = 2000
"""Characters of a message: https://developers.facebook.com/docs/messenger-platform/reference/send-api.
They are counted here as UTF-16 code units, which are no fewer."""


class MessengerClient(GraphClient):
    """The Messenger Platform: `await client.send_message(recipient={"id": …}, message={…})`.

    `operations` are what is called most often; whatever else the Graph API has can be called too,
    by `client.call("POST /{page}/custom_user_settings", …)`. `page` is the page's id: unless given,
    the page that the token is of. See `GraphClient`.
    """

    operations = {  # noqa: RUF012 - it is never changed
        "send_message": "POST /{page}/messages",
        "upload_attachment": "POST /{page}/message_attachments",
        "get_profile": "GET /{psid}",
        "get_messenger_profile": "GET /{page}/messenger_profile",
        "set_messenger_profile": "POST /{page}/messenger_profile",
        "delete_messenger_profile": "DELETE /{page}/messenger_profile",
        "pass_thread_control": "POST /{page}/pass_thread_control",
        "take_thread_control": "POST /{page}/take_thread_control",
        "request_thread_control": "POST /{page}/request_thread_control",
        "release_thread_control": "POST /{page}/release_thread_control",
        "get_thread_owner": "GET /{page}/thread_owner",
        "get_conversations": "GET /{page}/conversations",
        "subscribe_app": "POST /{page}/subscribed_apps",
        "get_subscribed_apps": "GET /{page}/subscribed_apps",
        "unsubscribe_app": "DELETE /{page}/subscribed_apps",
    }
    throttled = GraphClient.throttled | {80006}
    hints = {  # noqa: RUF012 - it is never changed
        (10, 2018278): (
            "The person has not written for longer than Meta's policy allows, mostly 24 hours: "
            "send with messaging_type='MESSAGE_TAG' and a tag that allows for it."
        ),
    }
