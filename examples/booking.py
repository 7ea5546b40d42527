"""A bot that books a table, in steps. Stopped between any two of them, it goes on where it was.

Run it with `python examples/booking.py --store sqlite:///booking.db`.
"""

from datetime import date

from barback import ConsoleBot

bot = ConsoleBot(initial_state={"name": None, "day": None, "bookings": []})


@bot.command("book")
async def book(context):
    context.next_step(ask_name)
    await context.send_text("In what name?")


@bot.command("cancel")
async def cancel(context):
    context.end_steps()
    await context.send_text("Nothing is booked. /book begins anew.")


@bot.step("ask_name")
async def ask_name(context):
    name = (context.event.text or "").strip()
    if not name:
        await context.send_text("In what name? Please write it.")
        return
    context.set_state(name=name)
    context.next_step(ask_day)
    await context.send_text(f"Good day, {name}. For which day? As in 2027-05-31, please.")


@bot.step("ask_day")
async def ask_day(context):
    try:
        day = date.fromisoformat((context.event.text or "").strip())
    except ValueError:
        await context.send_text("That is no day. As in 2027-05-31, please.")
        return
    context.set_state(day=day.isoformat())
    context.next_step(confirm)
    # Where there are buttons, send two here that carry "yes" and "no".
    await context.send_text(
        f"A table for {context.state['name']} on {day:%A, %d %B %Y}? /payload yes, or /payload no"
    )


@bot.step("confirm")
async def confirm(context):
    match context.event.payload:
        case "yes":
            context.state["bookings"].append([context.state["name"], context.state["day"]])
            context.end_steps()
            await context.send_text("It is booked. /list tells what is.")
        case "no":
            context.next_step(ask_day)
            await context.send_text("For which other day?")
        case _:
            await context.send_text("Please press yes or no; /cancel books nothing.")


@bot.command("list")
async def tell(context):
    booked = [f"{day}: {name}" for name, day in context.state["bookings"]]
    await context.send_text("\n".join(booked) or "Nothing is booked.")


@bot.on_text(r"(?i)\b(hi|hello)\b")
async def greet(context):
    await context.send_text(f"{context.match[0].capitalize()} to you! /book books a table.")


@bot.on_event
async def otherwise(context):
    await context.send_text("/book books a table, /list tells what is booked.")


if __name__ == "__main__":
    bot.run()
