"""The example of a channel of one's own, behind its webhook."""

from __future__ import annotations

import hashlib
import hmac

import httpx2
import msgspec
import pytest

from examples.custom_channel import app, bot


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
