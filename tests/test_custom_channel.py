"""A channel of one's own, behind its webhook: the example, and one that makes mistakes."""

from __future__ import annotations

import hashlib
import hmac

import httpx2
import msgspec
import pytest

from barback import Event, InvalidEvent, WebhookMalformed, WebhookRefused, WebhookRequest
from examples.custom_channel import app, bot
from tests.postbox import Postbox, greeter


def signature(body: bytes) -> str:
    return hmac.new(b"open-sesame", body, hashlib.sha256).hexdigest()


async def test_the_example_counts_notes(capsys: pytest.CaptureFixture[str]) -> None:
    transport = httpx2.ASGITransport(app=app)
    async with (
        httpx2.AsyncClient(transport=transport, base_url="http://bot") as client,
        app.router.lifespan_context(app),
    ):
        body = msgspec.json.encode({"id": "1", "from": "tim", "text": "Hi"})
        headers = {"x-signature": signature(body)}
        for _ in range(2):
            answer = await client.post("/notes", content=body, headers=headers)
            assert answer.status_code == 200
        for number in range(len(body) * 8):  # every bit of it counts
            changed = bytearray(body)
            changed[number // 8] ^= 1 << number % 8
            answer = await client.post("/notes", content=bytes(changed), headers=headers)
            assert answer.status_code == 401
        nonsense = b"[]"
        answer = await client.post(
            "/notes", content=nonsense, headers={"x-signature": signature(nonsense)}
        )
        assert answer.status_code == 400
        async with bot.conversation("notes:ann") as context:
            await context.send_text("Good morning")
    assert capsys.readouterr().out == (
        "to tim: That is your note number 1.\nto ann: Good morning\n"
    )


@pytest.mark.parametrize(
    ("raised", "status"),
    [
        (WebhookRefused("no"), 401),
        (WebhookMalformed("no list"), 400),
        (InvalidEvent("no text"), 400),
        (KeyError("text"), 500),
    ],
    ids=repr,
)
async def test_a_mistake_of_a_channels_own_is_no_fault_of_the_request(
    raised: Exception, status: int
) -> None:
    class Mistaken(Postbox):
        def events(self, request: WebhookRequest) -> list[Event]:
            raise raised

    app = greeter().asgi(Mistaken())
    transport = httpx2.ASGITransport(app=app, raise_app_exceptions=False)
    client = httpx2.AsyncClient(transport=transport, base_url="http://bot")
    async with client, app.router.lifespan_context(app):
        answer = await client.post("/postbox", headers={"secret": "right"})
        assert answer.status_code == status
