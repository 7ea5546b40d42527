"""`python3 dev.py pictures`: the pictures of docs/playground.md, made anew."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from playwright.async_api import expect

from tests.test_playground_page import opened, say, turn

if TYPE_CHECKING:
    from playwright.async_api import Page

DOCS = Path(__file__).parent.parent / "docs"


async def main() -> None:
    """Talk for a while, and take a picture in light and in dark colours."""
    for look in ("light", "dark"):
        with tempfile.TemporaryDirectory() as folder:
            async with opened(Path(folder), look=look) as page:
                await talk(page)
                if look == "dark":
                    await page.get_by_role("button", name="Session of ann").click()
                    await expect(page.get_by_role("dialog")).to_be_visible()
                await page.screenshot(path=DOCS / f"playground-{look}.png")


async def talk(page: Page) -> None:
    """A conversation of two people, in which something goes wrong."""
    said = [
        ("ann", "Hi", None),
        ("ann", "Ann", None),
        ("bob", "Good morning", "Deliver it twice"),
        ("bob", "tea", "Press a button with it"),
        ("ann", "crash", None),
    ]
    for number, (who, text, way) in enumerate(said, 1):
        await say(page, who, text, way)
        await expect(page.locator("#list > li")).to_have_count(number + (number > 2))
    for number in (0, 1):
        await turn(page, number).locator("summary").first.click()


if __name__ == "__main__":
    asyncio.run(main())
