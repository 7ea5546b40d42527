"""The web: whether the bot can be reached where it is served, and what platforms say of it."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, Final
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from barback.channels.opening import open_channel
from barback.channels.webhook import WebhookChannel
from barback.cli.webhook import Settable
from barback.errors import BarbackError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from barback.channels.base import Channel
    from barback.cli.doctor.findings import Findings

__all__ = ["channels_of", "look_at_platform", "look_at_url"]

PATIENCE: Final = 10.0  # seconds
MOST: Final = 200  # characters of an answer that are shown
PATHS: Final = {
    "/healthz": "Is it served there? See barback run, and what stands before it.",
    "/readyz": "The server answers, and the bot cannot handle events: see what it logs.",
}


def channels_of(findings: Findings, names: Sequence[str]) -> list[Channel]:
    """Those that are named, as the environment tells of them."""
    opened: list[Channel] = []
    for name in names:
        try:
            opened.append(open_channel(name))
        except BarbackError as error:
            findings.fail(name, str(error))  # it has no token
        else:
            findings.ok(name, "the environment has what it needs")
    return opened


async def look_at_url(findings: Findings, url: str) -> None:
    """Whether a bot is served there, and ready."""
    if urlsplit(url).scheme != "https":
        findings.warn("url", "It is not https.", "Platforms call webhooks by https alone.")
    for path, advice in PATHS.items():
        began = time.perf_counter()
        status, says = await asyncio.to_thread(_get, url.rstrip("/") + path)
        taken = (time.perf_counter() - began) * 1000
        if status == 200:  # noqa: PLR2004 - as HTTP has it
            findings.ok(path, f"200 in {taken:.0f} ms")
        else:
            findings.fail(path, f"{status or 'no answer'}: {says}", advice)
            return


async def look_at_platform(findings: Findings, channel: Channel, url: str | None) -> None:
    """What the platform knows of the webhook, where it can be asked."""
    if not isinstance(channel, Settable):
        if isinstance(channel, WebhookChannel):
            findings.ok(channel.name, "its platform tells nothing of its webhook")
        return
    try:
        await channel.start()
        try:
            async with asyncio.timeout(PATIENCE):
                info = await channel.webhook_info()
        finally:
            await channel.stop()
    except TimeoutError:
        findings.fail(channel.name, "The platform does not answer.", "Is the network as it should?")
    except BarbackError as error:
        findings.fail(channel.name, str(error), "Is the token right, and the network?")
    else:
        _look_at_info(findings, channel.name, info, None if url is None else url + channel.path)


def _look_at_info(findings: Findings, name: str, info: dict[str, Any], wanted: str | None) -> None:
    """`wanted`: where the webhook is to be."""
    there = info.get("url") or info.get("endpoint") or ""
    set_it = f"barback webhook set MODULE:BOT URL --channel {name}"
    if not there:
        findings.warn(name, "The platform has no webhook set.", f"{set_it}, or poll.")
    elif wanted is not None and there != wanted:
        findings.fail(name, f"The platform calls {there}, and not {wanted}.", set_it)
    else:
        findings.ok(name, f"the platform calls {there}")
    told = info.get("last_error_message")
    if told:
        says = f"The last call failed: {str(told)[:MOST]}."
        findings.warn(name, says, f"{info.get('pending_update_count', 'Some')} events wait there.")


def _get(url: str) -> tuple[int, str]:
    """What is answered, or 0 and why nothing is."""
    try:
        with urlopen(Request(url), timeout=PATIENCE) as answer:  # noqa: S310 - its scheme was looked at
            return answer.status, ""
    except HTTPError as error:
        with error:
            return error.code, error.read(MOST).decode(errors="replace")
    except URLError as error:
        return 0, str(error.reason)
    except (OSError, ValueError) as error:
        return 0, str(error)
