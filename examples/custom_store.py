"""A store of your own: four methods. This one keeps sessions in a table of SQLite."""

import sqlite3
from pathlib import Path
from typing import Self

from barback import ConsoleBot, Context, Record, SessionStore


class TableStore(SessionStore):
    name = "table"

    def __init__(self, path: str | Path) -> None:
        self.path = path

    async def init(self) -> Self:
        # Each statement is a transaction of its own. So short a call may block the event loop.
        self.db = sqlite3.connect(self.path, isolation_level=None)
        self.db.execute("CREATE TABLE IF NOT EXISTS sessions (id TEXT PRIMARY KEY, record BLOB)")
        return self

    async def read(self, session_id: str) -> Record | None:
        found = self.db.execute("SELECT record FROM sessions WHERE id = ?", [session_id])
        row = found.fetchone()
        return row and Record.decode(row[0], session_id=session_id, store=self.name)

    async def write(self, session_id: str, record: Record) -> None:
        row = [session_id, record.encode()]
        self.db.execute("INSERT OR REPLACE INTO sessions VALUES (?, ?)", row)

    async def destroy(self, session_id: str) -> None:
        self.db.execute("DELETE FROM sessions WHERE id = ?", [session_id])

    async def close(self) -> None:
        self.db.close()


bot = ConsoleBot(session_store=TableStore("sessions.db"), initial_state={"messages": 0})


@bot.on_event
async def greet(context: Context) -> None:
    context.set_state(messages=context.state["messages"] + 1)
    await context.send_text(f"Messages so far: {context.state['messages']}")


if __name__ == "__main__":
    bot.run()
