"""A bot that asks for your nickname, and remembers it."""

from barback import ConsoleBot

bot = ConsoleBot(initial_state={"asking": False, "nickname": None})


@bot.on_event
async def greet(context):
    if context.state["asking"]:
        context.set_state(nickname=context.event.text, asking=False)
        await context.send_text(f"Hello {context.state['nickname']}")
    else:
        context.set_state(asking=True)
        await context.send_text("Hi, what's your nickname?")


if __name__ == "__main__":
    bot.run()
