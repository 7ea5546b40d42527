"""The pages of the site: which there are, in which order, and where their links lead.

The documents are written for a code host: their links are paths from one file to another. Here they
are copied to where the site has them, and their links with them.
"""

import ast
import re
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path, PurePosixPath
from posixpath import normpath, relpath
from typing import Any

Navigation = list[Any]  # a page, or a title and what is under it

# A document is in the first place that has a pattern for it, but for those named by full name.
# Whatever else is in docs/ is a how-to.
CHAPTERS: dict[str, list[str | tuple[str, str]]] = {
    "Tutorial": ["docs/tutorial.md"],
    "How-to": [
        "docs/state.md",
        "docs/history.md",
        "docs/expiry.md",
        "docs/encryption.md",
        "docs/stores.md",
        "docs/routing.md",
        "docs/speaking.md",
        "docs/playground.md",
        "docs/testing.md",
        "docs/web.md",
        "docs/deployment.md",
        "docs/telemetry.md",
        "docs/*.md",
        ("Channels", "docs/channels/*.md"),
        ("Coming from", "docs/coming-from/*.md"),
        ("Examples", "examples/*.py"),
    ],
    "Reference": ["docs/cli.md", "CHANGELOG.md"],
    "Explanation": [
        "docs/turn.md",
        "docs/architecture.md",
        "docs/guarantees.md",
        "docs/performance.md",
        "docs/benchmarks.md",
        "benchmarks/README.md",
        "CONTRIBUTING.md",
    ],
}
HOME = "README.md"
TITLES = {HOME: "Home", "benchmarks/README.md": "How they are measured"}
ELSEWHERE = {
    HOME: "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "benchmarks/README.md": "measuring.md",
}

FENCED = re.compile(r"^ *(```+|~~~+).*?^ *\1[`~]* *$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(?P<text>!?\[(?:[^\[\]]|\[[^\]]*\])*\])\((?P<target>[^()\s]+)\)")
HEADING = re.compile(r"^# (.+)$", re.MULTILINE)
HOST = re.compile(r"[a-z][a-z0-9+.-]*:")
DRAWING = re.compile(r"^!\[[^\]]*\]\((?P<path>[^()\s]+\.svg)\)$", re.MULTILINE)


def documents(root: Path) -> dict[str, list[tuple[str | None, list[str]]]]:
    """What is in each chapter: groups of documents, by their paths; some groups have a title."""
    named = {one for places in CHAPTERS.values() for one in places if isinstance(one, str)}
    chapters: dict[str, list[tuple[str | None, list[str]]]] = {}
    for chapter, places in CHAPTERS.items():
        chapters[chapter] = []
        for place in places:
            title, pattern = (None, place) if isinstance(place, str) else place
            found = sorted(path.relative_to(root).as_posix() for path in root.glob(pattern))
            found = [one for one in found if one == pattern or one not in named]
            if found:
                chapters[chapter].append((title, found))
    placed = {one for groups in chapters.values() for _, found in groups for one in found}
    for path in sorted(root.glob("docs/**/*.md")):
        if path.relative_to(root).as_posix() not in placed:
            raise LookupError(f"{path} has no place on the site: give it one in docsite/pages.py.")
    return chapters


def place_of(document: str) -> str:
    """Where the site has a document: `docs/web.md` is its `web.md`."""
    if document in ELSEWHERE:
        return ELSEWHERE[document]
    return str(PurePosixPath(document.removeprefix("docs/")).with_suffix(".md"))


def navigation(root: Path, reference: list[str]) -> Navigation:
    """The chapters and their pages, with those of the reference before the others of theirs."""
    chapters: Navigation = [entry(HOME)]
    for chapter, groups in documents(root).items():
        pages: Navigation = list(reference) if chapter == "Reference" else []
        for title, found in groups:
            places = [entry(one) for one in found]
            pages += places if title is None else [{title: places}]
        chapters.append({chapter: pages})
    return chapters


def entry(document: str) -> Any:
    """A document in the navigation: by its heading, or by a title that fits better there."""
    place = place_of(document)
    return {TITLES[document]: place} if document in TITLES else place


def copy(root: Path, target: Path) -> None:
    """Copy every document to where the site has it, and what is beside them in docs/."""
    shutil.copytree(root / "docs", target, ignore=shutil.ignore_patterns("*.md"))
    chapters = documents(root)
    copied = {one for groups in chapters.values() for _, found in groups for one in found}
    copied.add(HOME)
    for document in sorted(copied):
        place = target / place_of(document)
        place.parent.mkdir(parents=True, exist_ok=True)
        text = (root / document).read_text()
        if document.endswith(".py"):
            text = example(document, text)
        text = with_links(text, partial(moved, document=document, pages=copied, root=root))
        place.write_text(with_drawings(text, place.parent))


def example(document: str, code: str) -> str:
    """An example as a page: what it says of itself, and its code."""
    module = ast.parse(code)
    about = ast.get_docstring(module) or ""
    name = PurePosixPath(document).name
    body = code[sum(map(len, code.splitlines(keepends=True)[: module.body[0].end_lineno])) :]
    return f'# {name}\n\n{about}\n\n```python title="{document}"\n{body.strip()}\n```\n'


def with_links(text: str, change: Callable[[str, str], str]) -> str:
    """A document with its links changed, by what stands in brackets and where they lead."""

    def changed(match: re.Match[str]) -> str:
        return change(match["text"], match["target"])

    parts, end = [], 0
    for kept in code_in(text):
        parts += [LINK.sub(changed, text[end : kept.start()]), kept[0]]
        end = kept.end()
    return "".join([*parts, LINK.sub(changed, text[end:])])


def links(text: str) -> list[str]:
    """Where the links and pictures of a document lead."""
    for block in reversed(code_in(text)):
        text = text[: block.start()] + text[block.end() :]
    return [match["target"] for match in LINK.finditer(text)]


def code_in(text: str) -> list[re.Match[str]]:
    """The fenced blocks of a document: nothing in them is a link."""
    return list(FENCED.finditer(text))


def moved(text: str, link: str, *, document: str, pages: set[str], root: Path) -> str:
    """A link as the site has it: its text only, if the site does not have the file."""
    path, hash_, anchor = link.partition("#")
    target = normpath(PurePosixPath(document).parent / path)
    if HOST.match(link) or not path:
        return f"{text}({link})"
    here = PurePosixPath(place_of(document)).parent
    if target in pages:
        if text == f"[{path}]":  # the site's pages have titles, and no names of files
            text = f"[{title_of(root / target)}]"
        return f"{text}({relpath(place_of(target), here)}{hash_}{anchor})"
    if target.startswith("docs/") and (root / target).is_file():  # copied with its folder
        return f"{text}({relpath(target.removeprefix('docs/'), here)}{hash_}{anchor})"
    return text[1:-1]


def title_of(document: Path) -> str:
    """The heading of a document."""
    match = HEADING.search(document.read_text()) if document.suffix == ".md" else None
    return document.name if match is None else match[1]


def with_drawings(text: str, folder: Path) -> str:
    """A document with its drawings in it, so that they take the colours that the reader chose."""

    def drawn(match: re.Match[str]) -> str:
        drawing = (folder / match["path"]).read_text()
        if 'class="drawing"' not in drawing:
            return match[0]
        lines = [line for line in drawing.splitlines() if line.strip()]
        return "\n".join(["<div>", *lines, "</div>"])

    return DRAWING.sub(drawn, text)
