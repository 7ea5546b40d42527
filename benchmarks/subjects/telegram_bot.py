"""python-telegram-bot, its user_data in memory."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any, Self

from telegram import Update
from telegram.ext import Application, ContextTypes, MessageHandler, filters
from telegram.request import BaseRequest, RequestData

from benchmarks.workload import FIRST, Events, Handler, Job, main, update

ME = {"id": 1, "is_bot": True, "first_name": "Bot", "username": "bench_bot"}


class Counted(BaseRequest):
    """A connection to Telegram that only counts what is said."""

    said = 0

    @property
    def read_timeout(self) -> float | None:
        """Nothing is waited for."""
        return None

    async def initialize(self) -> None:
        """Nothing to open."""

    async def shutdown(self) -> None:
        """Nothing to close."""

    async def do_request(
        self,
        url: str,
        method: str,  # noqa: ARG002 - what a request is told
        request_data: RequestData | None = None,
        *_: object,
        **__: object,
    ) -> tuple[int, bytes]:
        """Answer a call of the API as Telegram would."""
        if url.endswith("/getMe"):
            return 200, json.dumps({"ok": True, "result": ME}).encode()
        assert request_data is not None
        self.said += 1
        said = request_data.parameters
        chat = {"id": said["chat_id"], "type": "private"}
        message = {"message_id": self.said, "date": 1700000000, "chat": chat, "text": said["text"]}
        return 200, json.dumps({"ok": True, "result": message}).encode()


class TelegramBot(Handler):
    """Given updates one by one, as many at once as are in flight.

    Counting, it gets them through its queue, as a bot that runs does: one after another.
    """

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        logging.disable(logging.INFO)
        self.request = Counted()
        self.application = (
            Application.builder()
            .token("1:token")
            .request(self.request)
            .get_updates_request(Counted())
            .updater(None)
            .build()
        )
        handler = count if job.work == "count" else greet
        self.application.add_handler(MessageHandler(filters.TEXT, handler))

    @property
    def replies(self) -> int:  # type: ignore[override]
        """See `Subject.replies`."""
        return self.request.said

    async def __aenter__(self) -> Self:
        await self.application.initialize()
        if self.job.work == "count":
            await self.application.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        if self.job.work == "count":
            await self.application.stop()
        await self.application.shutdown()

    async def work(self, events: Events) -> None:
        """See `Subject.work`."""
        if self.job.work == "nickname":
            await super().work(events)
            return
        for n, person in events:
            arrived = Update.de_json(update(n, person), self.application.bot)
            await self.application.update_queue.put(arrived)
        await self.application.update_queue.join()

    async def handle(self, n: int, person: int) -> None:
        """See `Handler.handle`."""
        application = self.application
        await application.process_update(Update.de_json(update(n, person), application.bot))

    async def state(self, person: int) -> dict[str, Any]:
        """See `Subject.state`."""
        data = self.application.user_data[FIRST + person]
        return {name: data.get(name, value) for name, value in self.job.initial.items()}


async def greet(update: Update, context: ContextTypes.DEFAULT_TYPE) -> None:
    """The README's bot."""
    state, message = context.user_data, update.message
    assert state is not None
    assert message is not None
    if state.get("asking"):
        state.update(nickname=message.text, asking=False)
        await message.reply_text(f"Hello {message.text}")
    else:
        state["asking"] = True
        await message.reply_text("Hi, what's your nickname?")


async def count(update: Update, context: ContextTypes.DEFAULT_TYPE) -> None:  # noqa: ARG001
    """One more, after others had their turn."""
    state = context.user_data
    assert state is not None
    n = state.get("n", 0)
    await asyncio.sleep(0)
    state["n"] = n + 1


if __name__ == "__main__":
    main(TelegramBot)
