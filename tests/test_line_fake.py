"""The fake of LINE is as strict as LINE."""

from __future__ import annotations

from typing import Any

import pytest

from barback import ChannelError
from barback.testing import FakeLine

TIM = f"U{1:032x}"
HI = [{"type": "text", "text": "Hi"}]


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("push_message", {"to": "tim", "messages": HI}),
        ("push_message", {"to": TIM, "messages": []}),
        ("push_message", {"to": TIM, "messages": HI * 6}),
        ("push_message", {"to": TIM, "messages": [{"type": "text", "text": "x" * 5001}]}),
        ("reply_message", {"reply_token": "unheard of", "messages": HI}),
        ("multicast", {"to": [], "messages": HI}),
        ("multicast", {"to": [f"C{1:032x}"], "messages": HI}),
        ("show_loading_animation", {"chat_id": f"C{1:032x}"}),
        ("show_loading_animation", {"chat_id": TIM, "loading_seconds": 7}),
        ("test_webhook_endpoint", {}),
        ("get_message_content", {"message_id": "7"}),
        ("GET /v2/bot/telepathy", {}),
    ],
)
async def test_what_line_would_refuse_the_fake_does(method: str, params: dict[str, Any]) -> None:
    async with FakeLine() as line:
        client = line.channel().client
        with pytest.raises(ChannelError) as caught:
            await client.call(method, **params)
        assert caught.value.status in {400, 404}
        await client.close()


async def test_a_fake_knows_whom_many_were_sent_to() -> None:
    async with FakeLine() as line:
        client = line.channel().client
        await client.multicast(to=[TIM, f"U{2:032x}"], messages=HI)
        await client.broadcast(messages=HI)
        assert line.texts(f"U{2:032x}") == ["Hi"]
        await client.close()
