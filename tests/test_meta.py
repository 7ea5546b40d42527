"""What Messenger and WhatsApp have in common: signatures, and how a webhook is set."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from barback import (
    Bot,
    ChannelError,
    ConfigurationError,
    MessengerChannel,
    WebhookRefused,
    WebhookRequest,
    WhatsAppChannel,
)
from barback.channels.meta import MetaChannel
from barback.testing import FakeMessenger, FakeWhatsApp
from barback.testing.meta import APP_ID, APP_SECRET, TOKEN
from tests.fake_platforms import behind

HEADER = "x-hub-signature-256"

# Meta publishes no signature. This one is of a body as its documentation has them, by another hand:
# openssl dgst -sha256 -hmac "an app's secret" < body
MADE_SECRET = "an app's secret"  # noqa: S105 - it opens nothing
MADE = (
    b'{"object":"whatsapp_business_account","entry":[{"id":"102290129340398","changes":[{"value":'
    b'{"messaging_product":"whatsapp","metadata":{"display_phone_number":"15550783881",'
    b'"phone_number_id":"106540352242922"},"contacts":[{"profile":{"name":"Tim"},'
    b'"wa_id":"16505551234"}],"messages":[{"from":"16505551234","id":"wamid.HBgLMTY1MDU1NTEyMzQ=",'
    b'"timestamp":"1749416383","type":"text","text":{"body":"Tee \\u2615 und K\xc3\xa4se?"}}]},'
    b'"field":"messages"}]}]}'
)
MADE_SIGNATURE = "sha256=864f5b4f7ba594161c59541938658583e526e5a22f031ad13be316b6f1abe6bf"

# Published for the same header and scheme, which Meta took over:
# https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries.
PUBLISHED_SECRET = "It's a Secret to Everybody"  # noqa: S105 - it is in a documentation
PUBLISHED = b"Hello, World!"
PUBLISHED_SIGNATURE = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"


def messenger(**options: Any) -> MessengerChannel:
    return MessengerChannel(TOKEN, **{"app_secret": APP_SECRET, **options})


def whatsapp(**options: Any) -> WhatsAppChannel:
    return WhatsAppChannel(
        TOKEN, **{"phone_number_id": "106540352242922", "app_secret": APP_SECRET, **options}
    )


BOTH = pytest.mark.parametrize("channel_of", [messenger, whatsapp])


def signed(body: bytes, signature: str | None) -> WebhookRequest:
    headers = {} if signature is None else {HEADER: signature}
    return WebhookRequest(method="POST", headers=headers, body=body)


# Signatures.


@pytest.mark.parametrize(
    ("secret", "body", "signature"),
    [
        (MADE_SECRET, MADE, MADE_SIGNATURE),
        (PUBLISHED_SECRET, PUBLISHED, PUBLISHED_SIGNATURE),
    ],
    ids=["made", "published"],
)
@BOTH
def test_known_signatures_are_taken(
    channel_of: Any, secret: str, body: bytes, signature: str
) -> None:
    channel_of(app_secret=secret).verify(signed(body, signature))


def test_what_was_signed_is_read() -> None:
    (event,) = whatsapp(app_secret=MADE_SECRET).events(signed(MADE, MADE_SIGNATURE))
    assert (event.kind, event.text) == ("message", "Tee \u2615 und Käse?")


@BOTH
def test_every_single_bit_of_body_and_signature_counts(channel_of: Any) -> None:
    channel = channel_of(app_secret=PUBLISHED_SECRET)
    for part in (PUBLISHED, PUBLISHED_SIGNATURE.encode()):
        for number in range(len(part) * 8):
            changed = bytearray(part)
            changed[number // 8] ^= 1 << number % 8
            body, signature = bytes(changed), PUBLISHED_SIGNATURE
            if part is not PUBLISHED:
                body, signature = PUBLISHED, changed.decode("latin-1")
            with pytest.raises(WebhookRefused):
                channel.verify(signed(body, signature))


@pytest.mark.parametrize(
    "signature",
    [None, "", "sha256=", PUBLISHED_SIGNATURE[7:], f"sha1={PUBLISHED_SIGNATURE[7:]}", "sha256=é"],
)
def test_any_other_signature_and_none_is_refused_and_no_secret_told(signature: str | None) -> None:
    channel = messenger(app_secret=PUBLISHED_SECRET)
    with pytest.raises(WebhookRefused) as caught:
        channel.verify(signed(PUBLISHED, signature))
    assert "Secret" not in str(caught.value)
    assert PUBLISHED_SIGNATURE[7:] not in str(caught.value)


@pytest.mark.parametrize("secret", ["", None, 5])
@BOTH
def test_a_channel_without_a_secret_is_refused(channel_of: Any, secret: Any) -> None:
    with pytest.raises(ConfigurationError, match="secret"):
        channel_of(app_secret=secret)


# The handshake.


def asked(**query: str) -> WebhookRequest:
    told = {"hub.mode": "subscribe", "hub.challenge": "1158201444", "hub.verify_token": "mine"}
    return WebhookRequest(method="GET", query={**told, **query})


@BOTH
def test_who_knows_the_verify_token_gets_the_challenge_back(channel_of: Any) -> None:
    answer = channel_of(verify_token="mine").handshake(asked())  # noqa: S106 - it opens nothing
    assert answer is not None
    assert (answer.status, answer.body) == (200, b"1158201444")
    assert answer.content_type.startswith("text/plain")


@pytest.mark.parametrize(
    "query",
    [
        {"hub.verify_token": "yours"},
        {"hub.verify_token": ""},
        {"hub.verify_token": "é"},
        {"hub.mode": "unsubscribe"},
    ],
    ids=repr,
)
@BOTH
def test_who_does_not_is_refused(channel_of: Any, query: dict[str, str]) -> None:
    with pytest.raises(WebhookRefused) as caught:
        channel_of(verify_token="mine").handshake(asked(**query))  # noqa: S106 - the same
    assert "mine" not in str(caught.value)


@BOTH
def test_a_visitor_without_a_token_is_refused_and_a_post_is_no_handshake(channel_of: Any) -> None:
    with pytest.raises(WebhookRefused):
        channel_of().handshake(WebhookRequest(method="GET"))
    assert channel_of().handshake(signed(b"{}", None)) is None


def test_a_verify_token_that_is_not_set_is_made_of_the_secret_and_does_not_give_it_away() -> None:
    made = messenger()._verify_token
    assert made == whatsapp()._verify_token
    assert made != messenger(app_secret="another")._verify_token  # noqa: S106 - the same
    assert len(made) == 64
    assert APP_SECRET not in made
    with pytest.raises(ConfigurationError, match="verify token"):
        messenger(verify_token="")


@asynccontextmanager
async def served(fake: Any, **options: Any) -> AsyncIterator[MetaChannel]:
    """A bot that says nothing behind its webhook, in this process."""
    channel: MetaChannel = fake.channel(**options)
    async with behind(fake, Bot(), channel):
        yield channel


FAKES = pytest.mark.parametrize(
    ("fake_of", "subject", "path"),
    [
        (FakeMessenger, "page", "messenger"),
        (FakeWhatsApp, "whatsapp_business_account", "whatsapp"),
    ],
)


@FAKES
async def test_a_bot_sets_shows_and_deletes_its_webhook(
    fake_of: Any, subject: str, path: str
) -> None:
    async with fake_of() as fake, served(fake, app_id=APP_ID) as channel:
        assert await channel.webhook_info() == {"callback_url": "", "active": False, "fields": ""}
        await channel.set_webhook(f"http://bot/{path}")
        assert fake.webhook == f"http://bot/{path}"
        assert fake.subscriptions[subject]["callback_url"] == f"http://bot/{path}"
        info = await channel.webhook_info()
        assert (info["callback_url"], info["active"]) == (f"http://bot/{path}", True)
        assert info["fields"].startswith("messages")
        await channel.delete_webhook()
        assert fake.subscriptions == {}


@FAKES
async def test_a_webhook_that_does_not_know_the_verify_token_is_not_set(
    fake_of: Any, subject: str, path: str
) -> None:
    async with fake_of() as fake, served(fake, app_id=APP_ID) as channel:
        with pytest.raises(ChannelError, match="verification failed") as caught:
            await channel.set_webhook(f"http://bot/{path}", verify_token="another")  # noqa: S106
        assert (caught.value.code, fake.webhook) == (2200, None)


@FAKES
async def test_without_an_app_id_no_webhook_can_be_set(
    fake_of: Any, subject: str, path: str
) -> None:
    needed = rf"app_id=…, or the environment {path.upper()}_APP_ID\."
    async with fake_of() as fake, served(fake) as channel:
        with pytest.raises(ConfigurationError, match=needed):
            await channel.set_webhook(f"http://bot/{path}")
        assert fake.calls == []


async def test_without_an_account_whatsapp_would_send_nothing_so_no_webhook_is_set() -> None:
    needed = r"waba_id=…, or the environment WHATSAPP_WABA_ID\."
    async with FakeWhatsApp() as fake, served(fake, app_id=APP_ID, waba_id=None) as channel:
        with pytest.raises(ConfigurationError, match=needed):
            await channel.set_webhook("http://bot/whatsapp")
        assert fake.calls == []


async def test_the_pages_and_the_account_are_subscribed_to() -> None:
    async with FakeMessenger() as fake, served(fake, app_id=APP_ID, fields=["messages"]) as channel:
        await channel.set_webhook("http://bot/messenger")
        (call,) = fake.called("POST /me/subscribed_apps")
        assert call.params == {"subscribed_fields": "messages"}
    async with FakeWhatsApp() as other, served(other, app_id=APP_ID) as channel:
        await channel.set_webhook("http://bot/whatsapp")
        assert len(other.called(f"POST /{other.account}/subscribed_apps")) == 1


@FAKES
async def test_the_handshake_over_http(fake_of: Any, subject: str, path: str) -> None:
    async with fake_of(webhook=f"http://bot/{path}") as fake:
        async with served(fake, verify_token="mine"):  # noqa: S106 - it opens nothing
            assert (await fake.shake_hands("mine", "<b>5</b>")).body == b"<b>5</b>"
            assert (await fake.shake_hands("yours")).status == 401


@FAKES
async def test_a_wrong_signature_is_401_and_a_body_that_is_none_400(
    fake_of: Any, subject: str, path: str
) -> None:
    async with fake_of(webhook=f"http://bot/{path}") as fake, served(fake):
        body = b'{"entry": []}'
        assert (await fake.post(body)).status == 200
        assert (
            await fake.post(body, {HEADER: fake.signed(b"")["X-Hub-Signature-256"]})
        ).status == 401
        assert (await fake.post(body, {})).status == 401
        for bad in (b"", b"{", b"[]", b"\xff", b'{"entry": 5}'):
            assert (await fake.post(bad)).status == 400


@pytest.mark.parametrize("app_id", ["", "my-app", 5])
def test_an_app_id_is_digits(app_id: Any) -> None:
    with pytest.raises(ConfigurationError, match="app's id"):
        messenger(app_id=app_id)


@BOTH
def test_a_channel_shows_neither_token_nor_secret(channel_of: Any) -> None:
    channel = channel_of(verify_token="open-sesame")  # noqa: S106 - it opens nothing
    shown = repr(channel) + repr(channel.client)
    for secret in (TOKEN, APP_SECRET, "open-sesame"):
        assert secret not in shown
