"""aiogram: a state for being asked, data for the rest, as its documentation does it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from typing import Any, Self

from aiogram import Bot, Dispatcher
from aiogram.client.session.base import BaseSession
from aiogram.fsm.context import FSMContext
from aiogram.fsm.state import State, StatesGroup
from aiogram.fsm.storage.base import BaseEventIsolation, BaseStorage
from aiogram.fsm.storage.memory import DisabledEventIsolation, MemoryStorage, SimpleEventIsolation
from aiogram.fsm.storage.redis import RedisEventIsolation, RedisStorage
from aiogram.methods import TelegramMethod
from aiogram.types import Chat, Message

from benchmarks.workload import FIRST, Handler, Job, main, update


class Form(StatesGroup):
    """What the bot waits for."""

    nickname = State()


class Counted(BaseSession):
    """A connection to Telegram that only counts what is said."""

    said = 0

    async def close(self) -> None:
        """Nothing to close."""

    async def make_request(
        self,
        bot: Bot,
        method: TelegramMethod[Any],
        timeout: int | None = None,  # noqa: ASYNC109, ARG002 - what a session of aiogram takes
    ) -> Any:
        """Answer a call of the API as Telegram would."""
        self.said += 1
        chat = Chat(id=method.chat_id, type="private")
        message = Message(message_id=self.said, date=1700000000, chat=chat, text=method.text)
        return message.as_(bot)

    async def stream_content(self, *_: object, **__: object) -> AsyncGenerator[bytes, None]:
        """Nothing is downloaded."""
        raise NotImplementedError
        yield b""


class AiogramBot(Handler):
    """Fed raw updates, as from a webhook."""

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        logging.disable(logging.INFO)  # it tells of every update
        self.session = Counted()
        self.bot = Bot("1:token", session=self.session)
        self.dispatcher = Dispatcher(storage=storage(job), events_isolation=isolation(job))
        if job.work == "count":
            self.dispatcher.message.register(count)
        else:
            self.dispatcher.message.register(take_nickname, Form.nickname)
            self.dispatcher.message.register(ask_nickname)

    @property
    def replies(self) -> int:  # type: ignore[override]
        """See `Subject.replies`."""
        return self.session.said

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.dispatcher.storage.close()
        await self.dispatcher.fsm.events_isolation.close()

    async def handle(self, n: int, person: int) -> None:
        """See `Handler.handle`."""
        await self.dispatcher.feed_raw_update(self.bot, update(n, person))

    async def state(self, person: int) -> dict[str, Any]:
        """See `Subject.state`."""
        whose = FIRST + person
        context = self.dispatcher.fsm.get_context(self.bot, chat_id=whose, user_id=whose)
        data = await context.get_data()
        if self.job.work == "count":
            return dict(data)
        asking = await context.get_state() == Form.nickname.state
        return {"asking": asking, "nickname": data.get("nickname")}


def storage(job: Job) -> BaseStorage:
    """Where sessions rest."""
    return MemoryStorage() if job.store == "memory" else RedisStorage.from_url(job.url)


def isolation(job: Job) -> BaseEventIsolation:
    """What keeps two events of one person apart: nothing, unless it is asked for."""
    if not job.options.get("lock"):
        return DisabledEventIsolation()
    if job.store == "memory":
        return SimpleEventIsolation()
    return RedisEventIsolation.from_url(job.url)


async def ask_nickname(message: Message, state: FSMContext) -> None:
    """Who is not being asked, is asked."""
    await state.set_state(Form.nickname)
    await message.answer("Hi, what's your nickname?")


async def take_nickname(message: Message, state: FSMContext) -> None:
    """Who was asked, has answered."""
    await state.update_data(nickname=message.text)
    await state.set_state(None)
    await message.answer(f"Hello {message.text}")


async def count(
    message: Message,  # noqa: ARG001 - aiogram passes it
    state: FSMContext,
) -> None:
    """One more, after others had their turn."""
    n = (await state.get_data()).get("n", 0)
    await asyncio.sleep(0)
    await state.update_data(n=n + 1)


if __name__ == "__main__":
    main(AiogramBot)
