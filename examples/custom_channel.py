"""A channel of your own: a platform that posts signed notes, and is posted answers to.

Run it with `python examples/custom_channel.py`; then, in another terminal:

    body='{"id": "1", "from": "tim", "text": "Hi"}'
    signature=$(printf '%s' "$body" | openssl dgst -sha256 -hmac open-sesame -r | cut -d' ' -f1)
    curl -i localhost:8000/notes -d "$body" -H "X-Signature: $signature"
"""

import hashlib
import hmac
import json

from barback import (
    Bot,
    Event,
    User,
    WebhookChannel,
    WebhookMalformed,
    WebhookRefused,
)


class NotesChannel(WebhookChannel):
    name = "notes"
    ack_within = 5.0  # seconds that the platform waits for its answer

    def __init__(self, secret: str) -> None:
        self.secret = secret.encode()

    def verify(self, request):
        expected = hmac.new(self.secret, request.body, hashlib.sha256).hexdigest()
        given = request.headers.get("x-signature", "")
        if not hmac.compare_digest(expected.encode(), given.encode()):
            raise WebhookRefused("The signature is not the platform's.")

    def events(self, request):
        try:
            note = json.loads(request.body)
            user, number, text = User(note["from"]), note["id"], note.get("text")
        except (ValueError, KeyError, TypeError):
            raise WebhookMalformed("That is no note.") from None
        return [
            Event(channel=self.name, id=number, user=user, text=text, address=user.id, raw=note)
        ]

    def address_of(self, key):
        return key  # a person is all that it takes to speak first

    async def send_text(self, context, text):
        print(f"to {context.address}: {text}")  # here, call the platform


bot = Bot(channels=[NotesChannel("open-sesame")], initial_state={"notes": 0})


@bot.on_event
async def count(context):
    context.set_state(notes=context.state["notes"] + 1)
    await context.send_text(f"That is your note number {context.state['notes']}.")


app = bot.asgi()

if __name__ == "__main__":
    import uvicorn

    uvicorn.run(app, port=8000)
