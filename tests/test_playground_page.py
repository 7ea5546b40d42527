"""The playground's page in a real browser, as somebody would use it."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import ConsoleMessage, Locator, Page, expect

from tests.browser import chromium
from tests.playgrounds import SHOP, playground
from tests.test_playground import run_test

pytestmark = pytest.mark.timeout(180)

SERIOUS = {"serious", "critical"}
LOOKS: dict[str, dict[str, Any]] = {
    "light": {"color_scheme": "light", "viewport": {"width": 1400, "height": 900}},
    "dark": {"color_scheme": "dark", "viewport": {"width": 1400, "height": 900}},
    "phone": {"color_scheme": "light", "viewport": {"width": 390, "height": 844}},
}


@asynccontextmanager
async def opened(
    folder: Path, *options: str, look: str = "light", code: str = SHOP
) -> AsyncIterator[Page]:
    """The page, in which nothing may go wrong, nor anything be fetched from elsewhere."""
    async with playground(folder, *options, code=code) as address, chromium() as browser:
        page = await browser.new_page(**LOOKS[look])
        wrong: list[str] = []
        own = address.partition("?")[0]
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda said: wrong.append(said.text) if is_wrong(said) else None)
        page.on(
            "request", lambda asked: None if asked.url.startswith(own) else wrong.append(asked.url)
        )
        await page.goto(address)
        await expect(who(page, "ann")).to_be_visible()
        yield page
        assert wrong == []


def is_wrong(said: ConsoleMessage) -> bool:
    """A browser itself tells of each answer that is a refusal; the page shows those."""
    return said.type == "error" and not said.text.startswith("Failed to load resource")


def who(page: Page, name: str) -> Locator:
    return page.get_by_role("article", name=name, exact=True)


async def say(page: Page, name: str, text: str, way: str | None = None) -> None:
    """Somebody says something, with the keyboard; or in another way, with the mouse."""
    box = page.get_by_label(f"Say as {name}", exact=True)
    await box.fill(text)
    if way is None:
        await box.press("Enter")
        return
    ways = who(page, name).locator("details")
    if not await ways.evaluate("element => element.open"):
        await who(page, name).get_by_text("More ways").click()
    await who(page, name).get_by_role("button", name=way).click()


async def heard(page: Page, name: str, *lines: str) -> None:
    """What stands in somebody's column."""
    await expect(who(page, name).locator(".log p")).to_have_text(list(lines))


def turn(page: Page, number: int = 0) -> Locator:
    """A turn in the list, the newest first."""
    return page.locator("#list > li").nth(number)


async def accessible(page: Page) -> None:
    """No serious finding of axe, in what is shown now."""
    found = (await Axe().run(page)).response["violations"]
    assert [
        (each["id"], [node["html"][:100] for node in each["nodes"]])
        for each in found
        if each["impact"] in SERIOUS
    ] == []


async def test_two_people_talk_and_each_turn_shows_what_it_changed(tmp_path: Path) -> None:
    async with opened(tmp_path) as page:
        await say(page, "ann", "Hi")
        await say(page, "bob", "Hello")
        await heard(page, "bob", "Hello", "Hi, what's your nickname?")
        await say(page, "ann", "Ann")
        await heard(page, "ann", "Hi", "Hi, what's your nickname?", "Ann", "Hello Ann")
        await expect(turn(page)).to_contain_text("playground:ann")
        await turn(page).locator("summary").first.click()
        rows = turn(page).locator("tbody tr")
        await expect(rows).to_have_text(["askingtruefalse", 'nicknamenull"Ann"'])
        await expect(turn(page).locator(".steps")).to_contain_text("checkout")
        await expect(turn(page).locator(".steps")).to_contain_text("send_text")
        # It is all there when the page is opened anew.
        await page.reload()
        await heard(page, "ann", "Hi", "Hi, what's your nickname?", "Ann", "Hello Ann")
        await expect(page.locator("#list > li")).to_have_count(3)


async def test_an_event_is_delivered_twice_sent_again_and_two_come_at_once(tmp_path: Path) -> None:
    async with opened(tmp_path) as page:
        await say(page, "ann", "+1", "Deliver it twice")
        await heard(page, "ann", "+1", "1")
        await expect(page.locator(".settled")).to_have_text(["duplicate", "committed"])
        await turn(page, 1).locator("summary").first.click()
        await turn(page, 1).get_by_role("button", name="Send again").click()
        await expect(page.locator("#list > li")).to_have_count(3)
        await expect(page.locator(".settled").first).to_have_text("duplicate")
        await say(page, "ann", "+1", "Two at once")
        await heard(page, "ann", "+1", "1", "+1", "+1", "2", "3")
        await say(page, "ann", "tea", "Press a button with it")
        await expect(who(page, "ann").locator(".log p").last).to_have_text("In your cart: tea")


async def test_an_error_shows_its_place_and_the_state_stays(tmp_path: Path) -> None:
    async with opened(tmp_path) as page:
        await say(page, "ann", "crash")
        await expect(turn(page).locator(".settled")).to_have_text("failed")
        await turn(page).locator("summary").first.click()
        await expect(turn(page).locator(".error")).to_contain_text("ZeroDivisionError: of no use")
        place = re.compile(r"shop\.py:\d+ in greet")
        await expect(turn(page).locator(".place")).to_have_text(place)
        await expect(turn(page)).to_contain_text("It changed nothing.")


async def test_a_session_is_edited_with_the_keyboard_and_deleted(tmp_path: Path) -> None:
    async with opened(tmp_path) as page:
        await say(page, "ann", "Hi")
        await heard(page, "ann", "Hi", "Hi, what's your nickname?")
        await page.get_by_role("button", name="Session of ann").focus()
        await page.keyboard.press("Enter")
        dialog = page.get_by_role("dialog")
        await expect(dialog).to_contain_text("playground:ann")
        box = dialog.get_by_label("State")
        state = json.loads(await box.input_value())
        assert state["asking"] is True
        await box.fill("{")
        await dialog.get_by_role("button", name="Save").click()
        await expect(dialog.get_by_role("alert")).to_contain_text("That is no JSON")
        # A turn comes between.
        await page.request.post(
            page.url + "api/say", data={"messages": [{"person": "ann", "text": "+1"}]}
        )
        await box.fill(json.dumps({**state, "nickname": "Nan"}))
        await dialog.get_by_role("button", name="Save").click()
        await expect(dialog.get_by_role("alert")).to_contain_text("changed meanwhile")
        await dialog.get_by_role("button", name="Read again").click()
        await expect(box).to_have_value(re.compile('"n": 1'))
        await box.fill(json.dumps({**state, "asking": False, "nickname": "Nan", "n": 41}))
        await dialog.get_by_role("button", name="Save").click()
        await expect(page.get_by_role("status")).to_have_text("playground:ann was changed.")
        await page.keyboard.press("Escape")
        await expect(dialog).to_be_hidden()
        await say(page, "ann", "+1")
        await expect(who(page, "ann").locator(".log p").last).to_have_text("42")
        page.on("dialog", lambda asked: asyncio.ensure_future(asked.accept()))
        await page.get_by_role("button", name="Session of ann").click()
        await dialog.get_by_role("button", name="Delete the session").click()
        await expect(dialog).to_contain_text("It does not exist yet")


async def test_numbers_that_a_browser_rounds_stay_as_they_are(tmp_path: Path) -> None:
    code = SHOP.replace('"n": 0', '"n": 9007199254740993, "price": 1.0')
    async with opened(tmp_path, code=code) as page:
        await page.get_by_role("button", name="Session of ann").click()
        box = page.get_by_role("dialog").get_by_label("State")
        await expect(box).to_have_value(re.compile("9007199254740993"))
        await box.fill((await box.input_value()).replace("false", "true"))
        await page.get_by_role("button", name="Save", exact=True).click()
        await expect(page.get_by_role("status")).to_have_text("playground:ann was changed.")
        await page.keyboard.press("Escape")
        await say(page, "ann", "+1")
        await heard(page, "ann", "+1", "9007199254740994")
        await turn(page).locator("summary").first.click()
        await expect(turn(page).locator("tbody tr")).to_have_text(
            ["n90071992547409939007199254740994"]
        )
        await expect(turn(page).locator(".sent li")).to_have_text(["9007199254740994"])


async def test_the_page_can_be_used_while_turns_take_long(tmp_path: Path) -> None:
    first = "    if event.is_payload:"
    held = f'    if event.text == "hold":\n        await asyncio.sleep(60)\n{first}'
    async with opened(tmp_path, code=SHOP.replace(first, held)) as page:
        for _ in range(8):  # a browser asks for six things at a time
            await say(page, "ann", "hold")
        await expect(who(page, "ann")).to_contain_text("A turn is under way")
        await page.reload()
        await expect(who(page, "ann")).to_contain_text("A turn is under way")
        await say(page, "bob", "Hi")
        await heard(page, "bob", "Hi", "Hi, what's your nickname?")
        await expect(who(page, "bob").get_by_text("A turn is under way")).to_be_hidden()


async def test_the_clock_is_moved_and_sessions_end(tmp_path: Path) -> None:
    code = SHOP.replace("Bot(", "Bot(session_store=MemorySessionStore(expires_in=90), ").replace(
        "import Bot", "import Bot, MemorySessionStore"
    )
    async with opened(tmp_path, code=code) as page:
        await say(page, "ann", "Hi")
        await heard(page, "ann", "Hi", "Hi, what's your nickname?")
        await page.get_by_role("button", name="Clock one hour forward").click()
        await expect(page.get_by_role("status")).to_contain_text("60 minutes forward")
        await say(page, "ann", "Ann")
        await expect(who(page, "ann").locator(".log p").last).to_have_text("Hello Ann")
        await page.get_by_label("Minutes to move the clock forward").fill("91")
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("status")).to_contain_text("91 minutes forward")
        await say(page, "ann", "Ann?")
        await expect(who(page, "ann").locator(".log p").last).to_have_text(
            "Hi, what's your nickname?"
        )


async def test_code_that_changes_is_loaded_anew_and_trouble_is_shown(tmp_path: Path) -> None:
    async with opened(tmp_path) as page:
        await say(page, "ann", "Hi")
        await heard(page, "ann", "Hi", "Hi, what's your nickname?")
        (tmp_path / "shop.py").write_text(SHOP.replace("Hello", "Good day"))
        await expect(page.get_by_role("status")).to_contain_text("loaded anew")
        await say(page, "ann", "Ann")
        await expect(who(page, "ann").locator(".log p").last).to_have_text("Good day Ann")
        (tmp_path / "shop.py").write_text("def broken(:")
        await expect(page.locator("#trouble")).to_contain_text("SyntaxError")
        await accessible(page)
        (tmp_path / "shop.py").write_text(SHOP)
        await expect(page.locator("#trouble")).to_be_hidden()


async def test_a_conversation_is_saved_as_a_test_that_passes(tmp_path: Path) -> None:
    async with opened(tmp_path) as page:
        await say(page, "ann", "Hi")
        await heard(page, "ann", "Hi", "Hi, what's your nickname?")
        await say(page, "ann", "Ann")
        await heard(page, "ann", "Hi", "Hi, what's your nickname?", "Ann", "Hello Ann")
        await say(page, "bob", "+1", "Two at once")
        await heard(page, "bob", "+1", "+1", "1", "2")
        async with page.expect_download() as downloading:
            await page.get_by_role("link", name="Save as test").click()
        path = await (await downloading.value).path()
        text = Path(path).read_text()  # noqa: ASYNC240 - it is short
    done = await asyncio.to_thread(run_test, tmp_path, text)
    assert done.returncode == 0, done.stdout + text
    assert "Hello Ann" in text


async def test_somebody_is_added_to_a_group_in_which_all_hear_all(tmp_path: Path) -> None:
    async with opened(tmp_path) as page:
        for name in ("ann", "cid"):
            await page.get_by_label("Name").fill(name)
            await page.get_by_label("Group").fill("team")
            await page.get_by_role("button", name="Add").click()
        await say(page, "cid in team", "Hi all")
        line = who(page, "ann in team").locator(".log p").first
        await expect(line).to_contain_text("Hi all")
        await expect(turn(page)).to_contain_text("playground:team/cid")
        await page.get_by_role("button", name="Remove cid in team from the page").press("Enter")
        await expect(page.get_by_label("Name")).to_be_focused()
        await page.reload()
        await expect(who(page, "ann in team")).to_be_visible()
        await expect(who(page, "cid in team")).to_have_count(0)


@pytest.mark.parametrize("look", LOOKS)
async def test_the_page_is_accessible_and_fits(look: str, tmp_path: Path) -> None:
    async with opened(tmp_path, look=look) as page:
        await accessible(page)
        await say(page, "ann", "x" * 4000, "Press a button with it")
        await say(page, "ann", "crash")
        await expect(page.locator("#list > li")).to_have_count(2)
        for number in (0, 1):
            await turn(page, number).locator("summary").first.click()
        await accessible(page)
        wide = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        assert await page.evaluate(wide) <= 0
        await page.get_by_role("button", name="Session of ann").click()
        await expect(page.get_by_role("dialog")).to_be_visible()
        await accessible(page)


async def test_a_token_is_part_of_the_address(tmp_path: Path) -> None:
    async with opened(tmp_path, "--token", "open-sesame") as page:
        await say(page, "ann", "Hi")
        await heard(page, "ann", "Hi", "Hi, what's your nickname?")
        assert "open-sesame" not in page.url
