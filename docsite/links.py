"""Do the links lead somewhere? Those of the documents as a code host has them, and the site's.

Nothing is fetched: links to other hosts are left alone, but the site may need nothing from there.
"""

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

from docsite import pages

HEADING = re.compile(r"^#{1,6} +(?P<title>.+?) *#*$", re.MULTILINE)
# What a page loads. A link that is followed on a click, `a`, may lead anywhere.
LOADED = {"audio", "embed", "iframe", "img", "link", "object", "script", "source", "video"}
LOADED_BY_CSS = re.compile(r"(?:url\(|@import)\s*[\"']?(?:https?:)?//[^)\"'\s]+")


def broken_in_documents(root: Path) -> list[str]:
    """Links of the documents that lead to no file, or to no heading of it."""
    documents = [*root.glob("*.md"), *root.glob("docs/**/*.md"), *root.glob("benchmarks/*.md")]
    return [line for document in sorted(documents) for line in _broken_in(document, root)]


def _broken_in(document: Path, root: Path) -> Iterator[str]:
    for link in pages.links(document.read_text()):
        if pages.HOST.match(link):
            continue
        path, _, anchor = link.partition("#")
        target = (document.parent / unquote(path)).resolve() if path else document
        name = document.relative_to(root)
        if not target.exists() or not target.is_relative_to(root):
            yield f"{name}: {link} is no file"
        elif anchor and target.suffix == ".md" and anchor not in anchors(target.read_text()):
            yield f"{name}: {link} is no heading"


def anchors(text: str) -> set[str]:
    """What code hosts call the headings of a document."""
    for block in reversed(pages.code_in(text)):
        text = text[: block.start()] + text[block.end() :]
    found: set[str] = set()
    for match in HEADING.finditer(text):
        plain = pages.LINK.sub(lambda link: link["text"][1:-1], match["title"])
        slug = re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-")
        again = 0
        while (name := f"{slug}-{again}" if again else slug) in found:
            again += 1
        found.add(name)
    return found


class Page(HTMLParser):
    """A page of the site: its ids, where its links lead, and what it loads from elsewhere."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.foreign: list[str] = []
        self.feed(path.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what a tag says."""
        told = dict(attrs)
        self.ids |= {told[key] or "" for key in ("id", "name") if key in told}
        for key in ("href", "src", "srcset", "data"):
            link = told.get(key)
            if link is None:
                continue
            if not urlsplit(link).netloc:
                self.links.append(link)
            elif tag in LOADED:
                self.foreign.append(link)


def broken_in_site(site: Path) -> list[str]:
    """Links of the site's pages that lead nowhere, and what they load from other hosts."""
    found = {path: Page(path) for path in sorted(site.rglob("*.html"))}
    broken = []
    for path, page in found.items():
        name = path.relative_to(site)
        broken += [f"{name}: {link} is loaded from another host" for link in page.foreign]
        dead = [link for link in page.links if leads_nowhere(link, path, site, found)]
        broken += [f"{name}: {link} leads nowhere" for link in dead]
    for sheet in sorted(site.rglob("*.css")):
        loaded = LOADED_BY_CSS.findall(sheet.read_text())
        broken += [f"{sheet.relative_to(site)}: {one} is of another host" for one in loaded]
    return broken


def leads_nowhere(link: str, path: Path, site: Path, found: dict[Path, Page]) -> bool:
    """Whether a link of a page leads to no file, or to no place in it."""
    parts = urlsplit(link)
    if parts.scheme:  # mailto:, data:
        return False
    folder = site if parts.path.startswith("/") else path.parent
    target = (folder / unquote(parts.path).lstrip("/")).resolve() if parts.path else path
    if target.is_dir():
        target /= "index.html"
    if not target.exists():
        return True
    anchor = unquote(parts.fragment)
    return bool(anchor) and target in found and anchor not in found[target].ids
