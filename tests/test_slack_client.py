"""The client of Slack's Web API, over real sockets: names, forms, files, and what fails."""

from __future__ import annotations

import logging
import re
import traceback
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest

from barback import CannotSend, ChannelError, ChannelUnreachable, ConfigurationError
from barback.channels.http import HttpAnswer
from barback.channels.httpx2_http import _without_token
from barback.channels.slack import InputFile, SlackClient
from barback.channels.slack.methods import FAMILIES, method_of
from barback.testing import FakeSlack, slack_error
from barback.testing.slack import TOKEN
from tests.ports import free_port


@asynccontextmanager
async def asking(
    token: Any = TOKEN, **options: Any
) -> AsyncIterator[tuple[FakeSlack, SlackClient]]:
    async with FakeSlack() as slack:
        client = SlackClient(token, server=f"{slack.url}/api", **options)
        try:
            yield slack, client
        finally:
            await client.close()


# Names, after https://docs.slack.dev/reference/methods.

METHODS = """
admin.analytics.getFile admin.apps.approve admin.apps.approved.list admin.auth.policy.getEntities
admin.conversations.bulkMove admin.conversations.ekm.listOriginalConnectedChannelInfo
admin.conversations.restrictAccess.addGroup admin.emoji.addAlias admin.functions.list
admin.functions.permissions.set admin.inviteRequests.approve admin.inviteRequests.approved.list
admin.teams.settings.setDefaultChannels admin.users.list admin.users.session.getSettings
admin.users.unsupportedVersions.export admin.workflows.collaborators.add admin.workflows.search
agents.sessions.setStatus api.test apps.connections.open apps.event.authorizations.list
apps.manifest.create apps.uninstall assistant.threads.setSuggestedPrompts auth.revoke
auth.teams.list auth.test bookmarks.add bots.info calls.add calls.participants.remove
canvases.access.set canvases.create canvases.sections.lookup chat.appendStream chat.delete
chat.deleteScheduledMessage chat.getPermalink chat.meMessage chat.postEphemeral chat.postMessage
chat.scheduleMessage chat.scheduledMessages.list chat.unfurl conversations.acceptSharedInvite
conversations.canvases.create conversations.externalInvitePermissions.set conversations.history
conversations.requestSharedInvite.approve dialog.open dnd.endDnd dnd.teamInfo emoji.list
entity.presentDetails files.completeUploadExternal files.getUploadURLExternal files.remote.add
files.revokePublicURL files.sharedPublicURL functions.completeSuccess migration.exchange
oauth.access oauth.v2.access openid.connect.userInfo pins.add reactions.add reminders.add
rtm.connect search.messages slackLists.access.set slackLists.create slackLists.download.start
slackLists.items.deleteMultiple stars.add team.accessLogs team.billableInfo team.billing.info
team.externalTeams.disconnect team.preferences.list team.profile.get tooling.tokens.rotate
usergroups.create usergroups.users.update users.conversations users.discoverableContacts.lookup
users.getPresence users.lookupByEmail users.profile.set views.open views.publish
workflows.featured.add workflows.stepCompleted
"""


def test_each_method_has_a_name_in_python() -> None:
    for method in METHODS.split():
        snake = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", method.replace("URL", "Url"))
        assert method == method_of(snake.replace(".", "_").lower())
        assert method == method_of(method.replace(".", "_"))


def test_a_family_that_nobody_knows_yet_is_of_one_word() -> None:
    assert method_of("telepathy_read_mind") == "telepathy.readMind"
    assert method_of("telepathy") == "telepathy"
    assert len(set(FAMILIES.split())) == len(FAMILIES.split())


async def test_a_method_is_called_by_its_name_in_any_way_of_writing() -> None:
    async with asking() as (slack, client):
        await client.chat_post_message(channel="C1", text="Hi", thread_ts=None)
        await client.chat_postMessage(channel="C1", text="Ho")
        await client.call("chat.postMessage", channel="C1", text="Ha")
        assert slack.texts("C1") == ["Hi", "Ho", "Ha"]
        assert slack.calls[0].params == {"channel": "C1", "text": "Hi"}


async def test_what_comes_back_is_the_whole_answer() -> None:
    async with asking() as (_, client):
        assert await client.auth_test() == {"ok": True, "team_id": "T1", "user_id": "UBOT"}


async def test_parameters_are_a_form_whatever_they_are() -> None:
    async with asking() as (slack, client):
        await client.chat_post_message(
            channel="C1", text="a & ☕\n", blocks=[{"type": "divider"}], mrkdwn=False, limit=5
        )
        (call,) = slack.calls
        assert call.params == {
            "channel": "C1",
            "text": "a & ☕\n",
            "blocks": '[{"type":"divider"}]',
            "mrkdwn": "false",
            "limit": "5",
        }


async def test_a_file_is_a_part_of_the_form_where_a_method_takes_one() -> None:
    async with asking() as (slack, client):
        await client.users_set_photo(image=InputFile(b"\x00png", "me.png"), crop_x=1)
        (call,) = slack.calls
        assert (call.method, call.params) == ("users.setPhoto", {"crop_x": "1"})
        assert call.files == {"image": b"\x00png"}


async def test_a_file_is_uploaded_in_three_steps() -> None:
    async with asking() as (slack, client):
        done = await client.upload(InputFile(b"meow", "cat.png"), title="Tom", channel_id="C1")
        assert done["files"][0]["title"] == "Tom"
        assert [call.done for call in slack.calls] == [True] * 3


# Errors.


async def test_a_refusal_says_what_slack_says() -> None:
    async with asking() as (slack, client):
        more: dict[str, Any] = {"needed": "chat:write", "provided": "users:read"}
        slack.answer_next(slack_error("missing_scope", 200, retry_after=None, **more))
        with pytest.raises(ChannelError, match="lacks the scope chat:write") as caught:
            await client.chat_post_message(channel="C1", text="Hi")
        error = caught.value
        assert (error.channel, error.call, error.code, error.status) == (
            "slack",
            "chat.postMessage",
            "missing_scope",
            200,
        )
        assert error.parameters == more
        assert len(slack.calls) == 1


async def test_what_people_said_is_in_no_errors_words() -> None:
    async with asking() as (slack, client):
        slack.answer_next(
            slack_error("invalid_blocks", errors=["my pin is 1234"], needed="my pin <1234>"),
            slack_error("my pin is 1234"),
        )
        for _ in range(2):
            with pytest.raises(ChannelError) as caught:
                await client.chat_post_message(channel="C1", text="my pin is 1234")
            assert "1234" not in repr(caught.value) + str(caught.value)


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[]", b"\xff", b'{"ok": "yes"}', b'{"ok": true', b"[" * 5000]
)
async def test_an_answer_that_is_not_slacks_is_an_error(body: bytes) -> None:
    async with asking() as (slack, client):
        slack.answer_next(HttpAnswer(502, {}, body), HttpAnswer(200, {}, body))
        for status in (502, 200):
            with pytest.raises(ChannelError, match=str(status)):
                await client.chat_post_message(channel="C1", text="Hi")


async def test_a_wrong_token_is_refused() -> None:
    async with asking("xoxb-wrong") as (_, client):
        with pytest.raises(ChannelError, match="invalid_auth"):
            await client.auth_test()


@pytest.mark.parametrize("answer", [b"expired_url", b'{"ok":false,"error":"expired_url"}'])
async def test_a_response_url_that_is_over_is_an_error(answer: bytes) -> None:
    async with asking() as (slack, client):
        status = 200 if answer.startswith(b"{") else 404
        slack.answer_next(HttpAnswer(status, {}, answer))
        with pytest.raises(ChannelError) as caught:
            await client.respond(f"{slack.url}/response/1", text="Hi")
        assert caught.value.code == "expired_url"
        assert slack.url not in str(caught.value)


# What is asked again.


async def test_who_has_asked_too_much_asks_again_when_slack_says() -> None:
    async with asking() as (slack, client):
        slack.answer_next(slack_error("ratelimited", 429, retry_after=0.1))
        await client.chat_post_message(channel="C1", text="Hi")
        assert slack.texts("C1") == ["Hi"]
        assert len(slack.calls) == 2


async def test_a_wait_that_is_too_long_is_left_to_the_caller() -> None:
    async with asking(retry_within=1.0) as (slack, client):
        slack.answer_next(slack_error("ratelimited", 429, retry_after=30))
        with pytest.raises(ChannelError) as caught:
            await client.chat_post_message(channel="C1", text="Hi")
        assert (caught.value.code, caught.value.retry_after) == ("ratelimited", 30.0)


async def test_what_may_have_arrived_is_not_sent_again_and_what_only_reads_is() -> None:
    async with asking() as (slack, client):
        slack.answer_next(None)
        with pytest.raises(ChannelUnreachable):
            await client.chat_post_message(channel="C1", text="Hi")
        assert len(slack.calls) == 1
        slack.answer_next(None)
        await client.auth_test()
        assert len(slack.calls) == 3


def test_only_what_changes_nothing_is_harmless() -> None:
    client = SlackClient(TOKEN)
    for method in METHODS.split():
        word = re.match("[a-z]+", method.rpartition(".")[2])
        assert word is not None
        reads = word[0] in {"get", "list", "lookup", "info", "history", "test"}
        expected = (reads or method.startswith("search.")) and "Upload" not in method
        assert (method, expected) == (method, client.is_harmless(method))


# Tokens.


async def test_each_workspace_has_its_token() -> None:
    asked = []

    async def token_of(workspace: str) -> str:
        asked.append(workspace)
        return TOKEN

    for tokens in ({"T1": TOKEN}, {"T1": TOKEN}.__getitem__, token_of):
        async with asking(tokens) as (slack, client):
            await client.auth_test(workspace="T1")
            assert slack.calls[0].params == {}
            with pytest.raises(ConfigurationError, match=r"which workspace auth\.test is for"):
                await client.auth_test()
    assert asked == ["T1"]


async def test_a_workspace_that_has_no_token_cannot_be_asked() -> None:
    async with asking({"T1": TOKEN, "T2": "secret"}) as (slack, client):
        with pytest.raises(CannotSend, match="workspace T9"):
            await client.auth_test(workspace="T9")
        with pytest.raises(ConfigurationError, match="begins with xox") as caught:
            await client.auth_test(workspace="T2")
        assert "secret" not in str(caught.value)
        assert slack.calls == []


async def test_the_token_is_told_by_no_error_no_log_and_no_repr(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    async with asking() as (slack, client):
        told = [repr(client)]
        for answer in (slack_error("invalid_auth"), HttpAnswer(500), None):
            slack.answer_next(answer)
            told.append(await failure(client))
        nowhere = SlackClient(TOKEN, server=f"http://127.0.0.1:{free_port()}")
        told.append(await failure(nowhere))
        await nowhere.close()
        await client.respond(slack._response_url("C1"), text="Hi")
        assert [call.method for call in slack.calls][-1] == "response_url"
    for text in (*told, caplog.text):
        assert TOKEN not in text


async def failure(client: SlackClient) -> str:
    """All that can be seen of an error, and of what it came from."""
    try:
        await client.chat_post_message(channel="C1", text="Hi")
    except ChannelError as error:
        shown = "".join(traceback.TracebackException.from_exception(error).format())
        one: BaseException | None = error
        while one is not None:
            shown += repr(one) + repr(one.__dict__)
            one = one.__cause__ or one.__context__
        return shown
    raise AssertionError("it did not fail")


async def test_an_address_that_lets_post_gets_no_token_and_is_in_no_log() -> None:
    client = SlackClient(TOKEN)
    request = await client.request(
        "response_url", {"url": "https://hooks.slack.com/x", "body": b"{}", "kind": "x"}
    )
    assert set(request.headers) == {"content-type"}
    for url in (
        "https://hooks.slack.com/actions/T1/2/s3cret",
        "https://files.slack.com/upload/v1/s3cret",
    ):
        shown = _without_token(httpx2.URL(url))
        assert "s3cret" not in str(shown)
        assert "slack.com/" in str(shown)


@pytest.mark.parametrize("token", ["", "x", "xoxb- ", "xoxb-ä", 5, None])
def test_what_is_no_token_is_refused_and_not_told(token: Any) -> None:
    with pytest.raises(ConfigurationError, match="begins with xox"):
        SlackClient(token)


@pytest.mark.parametrize("server", ["", "slack.com", "ftp://host", "http://", "http://h:99999"])
def test_what_is_no_server_is_refused(server: str) -> None:
    with pytest.raises(ConfigurationError, match="begins with https"):
        SlackClient(TOKEN, server=server)


# Files that people have sent.


async def test_a_file_of_somebodys_is_fetched_with_the_token() -> None:
    async with asking() as (slack, client):
        file = slack.file(b"a picture")
        assert await client.download(file["url_private"]) == b"a picture"
        with pytest.raises(ChannelError, match="longer than 8 bytes"):
            await client.download(file["url_private"], most=8)


async def test_the_page_to_sign_in_at_is_no_file() -> None:
    async with FakeSlack() as slack:
        client = SlackClient("xoxb-another", server=f"{slack.url}/api")
        try:
            with pytest.raises(ChannelError, match="files:read"):
                await client.download(slack.file(b"a picture")["url_private"])
            slack.answer_next(HttpAnswer(302, {"location": "https://x.slack.com/"}, b""))
            with pytest.raises(ChannelError, match="files:read"):
                await client.download(slack.file(b"a picture")["url_private"])
        finally:
            await client.close()


async def test_a_file_that_is_not_there_is_an_error() -> None:
    async with asking() as (slack, client):
        with pytest.raises(ChannelError) as caught:
            await client.download(f"{slack.url}/files-pri/T1-F1/cat.png")
        assert (caught.value.status, caught.value.description) == (404, "")


@pytest.mark.parametrize(
    "url",
    [
        "https://files.slack.com.example/files-pri/T1-F1/cat.png",
        "https://files.slack.com@example.com/files-pri/T1-F1/cat.png",
        "https://files.slack.com:444/files-pri/T1-F1/cat.png",
        "http://files.slack.com/files-pri/T1-F1/cat.png",
        "https://slack.com/files-pri/T1-F1/cat.png",
        "https://example.com/",
        "files.slack.com",
    ],
)
async def test_nobody_but_slack_is_shown_the_token(url: str) -> None:
    for client in (SlackClient("xoxb-1"), SlackClient("xoxb-1", server="http://127.0.0.1:1/api")):
        with pytest.raises(ConfigurationError, match="no other host gets the token"):
            await client.download(url)


async def test_a_file_is_asked_for_where_slack_has_it() -> None:
    client = SlackClient({"T1": "xoxb-1"})
    url = "https://files.slack.com/files-pri/T1-F1/cat.png"
    request = await client.request("url_private", {"url": url, "workspace": "T1", "most": 5})
    assert (request.method, request.url, request.longest) == ("GET", url, 5)
    assert request.headers == {"authorization": "Bearer xoxb-1"}
