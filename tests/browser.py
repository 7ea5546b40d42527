"""A headless Chromium: the machine's own, or one that is fetched before the tests begin.

`python -m tests.browser` sees to it that there is one: by Playwright, which knows where browsers
are to be had, or as Debian's package. Tests only look for it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from playwright.async_api import Browser, async_playwright

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["chromium", "found"]

VARIABLE = "BARBACK_TEST_CHROMIUM"
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# It is to look for nothing elsewhere, and needs no sandbox for pages of our own.
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
WITHIN = 600  # seconds for fetching one


def found() -> str | None:
    """Where a browser is; None if there is none."""
    return next(_found(), None)


def _found() -> Iterator[str]:
    if told := os.environ.get(VARIABLE):
        yield told
    for name in NAMES:
        if path := shutil.which(name):
            yield path
    own = Path(os.environ.get("PLAYWRIGHT_BROWSERS_PATH", Path.home() / ".cache/ms-playwright"))
    shells = ("chrome-headless-shell", "headless_shell", "chrome", "Chromium")
    for file in sorted(own.glob("chromium*/*/*"), reverse=True):
        if file.name in shells and os.access(file, os.X_OK):
            yield str(file)


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """A browser that is closed afterwards."""
    path = found()
    assert path is not None, f"There is no Chromium: run python -m tests.browser, or set {VARIABLE}"
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        try:
            yield browser
        finally:
            await browser.close()


def fetch() -> str | None:
    """Get one, unless there is one; where it is, or None."""
    ways = [[sys.executable, "-m", "playwright", "install", "chromium-headless-shell"]]
    if hasattr(os, "geteuid") and os.geteuid() == 0 and shutil.which("apt-get"):
        install = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", "chromium"]
        ways = [["apt-get", "update", "-qq"], install, *ways]
    for way in ways:
        if (path := found()) is not None:
            return path
        try:
            subprocess.run(way, check=False, timeout=WITHIN, stdout=sys.stderr)
        except (OSError, subprocess.TimeoutExpired) as error:
            sys.stderr.write(f"{way[0]}: {error}\n")
    return found()


if __name__ == "__main__":
    if fetch() is None:
        sys.exit("There is no Chromium, and none could be fetched.")
