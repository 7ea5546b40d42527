"""Poller: updates of Telegram, fetched: https://core.telegram.org/bots/api#getupdates.

Telegram forgets updates when it is asked for later ones. So the next are asked for only when every
update of those before has been handled and committed; one that was not done is handled again.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Final

from barback.channels.unfit import UnfitEvent
from barback.errors import (
    BotNotRunning,
    ChannelError,
    ChannelUnreachable,
    CommitUnknown,
    ConfigurationError,
    NotDone,
    SessionIdTooLong,
    WebhookMalformed,
)

if TYPE_CHECKING:
    from barback.bot import Bot
    from barback.channels.telegram.channel import TelegramChannel
    from barback.events import Event

__all__ = ["Poller"]

logger = logging.getLogger("barback")

WAIT: Final = 2 / 3  # of the time limit of a request, that Telegram waits for something to tell
CONFLICT: Final = 409
OWN_FAULT: Final = frozenset({400, 401, 403, 404})  # asking again does not make it better
FIRST_PAUSE: Final = 0.5
LONGEST_PAUSE: Final = 30.0


class Poller:
    """Asks Telegram for updates, again and again, and hands them to a bot."""

    def __init__(self, channel: TelegramChannel, bot: Bot[Any]) -> None:
        self._channel = channel
        self._bot = bot
        self._offset: int | None = None

    async def poll(self) -> None:
        """Until cancelled.

        Raises `ConfigurationError` where a webhook is set, and `ChannelError` where Telegram will
        not have it, as with a wrong token. Whatever may pass is logged, and waited for.
        """
        pause = FIRST_PAUSE
        while True:
            try:
                updates = await self._fetched()
            except ChannelError as error:
                await self._refuse_if_hopeless(error)
                pause = error.retry_after or min(pause * 2, LONGEST_PAUSE)
                logger.warning("%s Asking again in %.1f s.", error, pause)
                await asyncio.sleep(pause)
                continue
            pause = FIRST_PAUSE
            remember = len(updates) > 1  # if one is not done, all come again should this be killed
            async with asyncio.TaskGroup() as group:
                for update in updates:
                    group.create_task(self._handle(update, remember=remember))
            if updates:
                self._offset = max(update["update_id"] for update in updates) + 1

    async def _fetched(self) -> list[dict[str, Any]]:
        updates: list[dict[str, Any]] = await self._channel.client.call(
            "getUpdates",
            offset=self._offset,
            timeout=int(self._channel.client.timeout * WAIT),
            allowed_updates=self._channel.allowed_updates,
        )
        return updates

    async def _handle(self, update: dict[str, Any], *, remember: bool) -> None:
        try:
            event = self._channel.event_of(update)
        except WebhookMalformed as error:
            logger.warning("An update of %s was left out: %s", self._channel.name, error)
            return
        if isinstance(event, UnfitEvent):
            self._bot.leave_out(event, event.error)
        elif event is not None:
            await self._until_done(event, remember=remember)

    async def _until_done(self, event: Event, *, remember: bool) -> None:
        """What was not done comes again, as it does to a webhook."""
        pause = FIRST_PAUSE
        while True:
            try:
                await self._bot.handle(event, remember=remember)
            except BotNotRunning:
                raise
            except SessionIdTooLong as error:
                self._bot.leave_out(event, error)
                return
            except (NotDone, CommitUnknown) as error:
                logger.warning("%r was not done, and will be handled again: %s", event, error)
                await asyncio.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE)
            else:
                return

    async def _refuse_if_hopeless(self, error: ChannelError) -> None:
        if error.status in OWN_FAULT:
            raise error
        if error.status != CONFLICT:
            return
        try:
            url = (await self._channel.webhook_info()).get("url")
        except ChannelUnreachable:
            return
        if url:
            message = (
                "Telegram sends this bot's updates to a webhook, and lets nobody fetch them. "
                "Delete it with `barback webhook delete`, or serve the webhook."
            )
            raise ConfigurationError(message) from error
        logger.warning("Somebody else fetches the updates of %s too.", self._channel.name)
