"""A bot for the tests of the console: it does what its text asks for."""

from __future__ import annotations

import asyncio
import signal
import sys

from barback import ConsoleBot, Context, Redeliver

REPLIES = {"lines": "one\ntwo\n\nfour", "surrogate": "half \ud800 a sign"}

argv = sys.argv[1:]


def asked_for(option: str) -> bool:
    if option not in argv:
        return False
    argv.remove(option)
    return True


bot = ConsoleBot(
    fallback_methods=asked_for("--fallback"),
    shutdown_timeout=5,
    warn_state_size=4_000_000,  # it keeps what is said, and the longest line is said to it
)


@bot.on_event
async def handle(context: Context) -> None:
    match context.event.text:
        case None:
            await context.send_text(f"pressed {context.event.payload}")
        case "fail":
            context.set_state(last="fail")
            raise ValueError("no such thing")
        case "not now":
            raise Redeliver("come again")
        case "image":
            await context.send_image("https://example.org/a.png", [1, 2], alt="an a", width=3)
        case "wait":
            context.set_state(last="wait")
            await context.send_text("waiting")
            try:
                await asyncio.Event().wait()
            finally:
                sys.stderr.write("cancelled\n")
        case "lines" | "surrogate" as name:
            await context.send_text(REPLIES[name])
        case "answer late":
            context.set_state(last="late")
            await answer_late(context)
        case "remind":
            asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, start_reminding)
            await context.send_text("I will")
        case "attributes":
            await context.send_text(str(hasattr(context, "send_image")))
        case text:
            context.set_state(last=text)
            await context.send_text(f"heard {text}" if len(text) < 1000 else f"heard {len(text)}")


async def answer_late(context: Context) -> None:
    signalled = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, signalled.set)
    await context.send_text("thinking")
    await signalled.wait()
    try:
        await context.send_text("late")
    finally:
        sys.stdout.write("a remark that stays in the buffer")


reminding: set[asyncio.Task[None]] = set()


def start_reminding() -> None:
    reminding.add(asyncio.create_task(remind()))


async def remind() -> None:
    async with bot.conversation("console:you") as context:
        await context.send_text("do not forget")


if __name__ == "__main__":
    if asked_for("--own-terminal"):  # so that Ctrl-C typed there comes here
        import fcntl
        import termios

        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    if asked_for("--own-errors"):

        @bot.on_error
        async def apologise(context: Context, error: Exception) -> None:
            await context.send_text(f"sorry: {error}")

    if asked_for("--without-handler"):
        bot = ConsoleBot()
    bot.run(argv)
