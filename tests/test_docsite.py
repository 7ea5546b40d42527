"""The documentation site: that its reference tells of everything, and that a dead link is found."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import barback
import barback.testing
from docsite import links, pages, reference

ROOT = Path(__file__).parent.parent
PUBLIC = reference.names(ROOT / "src")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A project with a few documents."""
    written = {
        "README.md": "# Shop\n\n[docs/a.md](docs/a.md#two-words), [the tests](tests/test_a.py)\n",
        "docs/a.md": "# A page\n\n## Two words\n\n![A picture](a.svg) [b](channels/b.md)\n",
        "docs/a.svg": '<svg class="drawing">\n\n<title>A</title></svg>',
        "docs/channels/b.md": "# B\n\n[home](../../README.md)\n\n```text\n[x](y.md)\n```\n",
        "examples/c.py": '"""What it shows."""\n\nprint("[x](y.md)")\n',
        "tests/test_a.py": "",
    }
    for name, text in written.items():
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def test_every_public_name_is_in_the_reference() -> None:
    told = {name for public in PUBLIC.values() for name in public}
    names = {f"barback.{name}" for name in (*barback.__all__, *vars(barback)["_LAZY"])}
    tools = {f"barback.testing.{name}" for name in barback.testing.__all__}
    assert names | tools <= told


def test_a_name_is_on_one_page_of_the_reference_only() -> None:
    told = [name for public in PUBLIC.values() for name in public]
    assert sorted(set(told)) == sorted(told)
    assert all(PUBLIC.values())


def test_a_platforms_own_names_are_in_the_reference() -> None:
    assert "barback.channels.telegram.TelegramClient" in PUBLIC["channels"]
    assert "barback.channels.telegram.TelegramChannel" not in PUBLIC["channels"]  # barback has it


def test_every_document_has_a_place_on_the_site() -> None:
    chapters = pages.documents(ROOT)
    placed = [one for groups in chapters.values() for _, found in groups for one in found]
    assert sorted(set(placed)) == sorted(placed)
    assert {path.relative_to(ROOT).as_posix() for path in ROOT.glob("docs/**/*.md")} <= {*placed}


def test_the_links_of_the_documents_lead_somewhere() -> None:
    assert links.broken_in_documents(ROOT) == []


def test_links_are_moved_with_the_documents(root: Path) -> None:
    site = root / "site"
    pages.copy(root, site)
    assert "[A page](a.md#two-words), the tests" in (site / "index.md").read_text()
    assert "[b](channels/b.md)" in (site / "a.md").read_text()
    assert "[home](../index.md)" in (site / "channels" / "b.md").read_text()
    assert "[x](y.md)" in (site / "channels" / "b.md").read_text()  # in a block it is none


def test_a_picture_of_the_docs_is_found_from_every_document(root: Path) -> None:
    (root / "docs" / "a.png").write_bytes(b"")
    (root / "README.md").write_text("# Shop\n\n![A](docs/a.png)\n")
    (root / "docs" / "channels" / "b.md").write_text("# B\n\n![A](../a.png)\n")
    pages.copy(root, root / "site")
    assert "![A](a.png)" in (root / "site" / "index.md").read_text()
    assert "![A](../a.png)" in (root / "site" / "channels" / "b.md").read_text()


def test_an_example_becomes_a_page(root: Path) -> None:
    pages.copy(root, root / "site")
    page = (root / "site" / "examples" / "c.md").read_text()
    assert page.startswith("# c.py\n\nWhat it shows.\n\n```python")
    assert 'print("[x](y.md)")' in page


def test_a_drawing_is_put_into_its_page_as_one_piece(root: Path) -> None:
    (root / "docs" / "a.md").write_text("# A\n\n![A](a.svg)\n")
    pages.copy(root, root / "site")
    page = (root / "site" / "a.md").read_text()
    assert '<div>\n<svg class="drawing">\n<title>A</title></svg>\n</div>' in page


def test_a_document_without_a_place_is_told(root: Path) -> None:
    (root / "docs" / "other").mkdir()
    (root / "docs" / "other" / "d.md").write_text("# D\n")
    with pytest.raises(LookupError, match=r"d\.md has no place"):
        pages.documents(root)


def test_whole_documents_lead_somewhere(root: Path) -> None:
    assert links.broken_in_documents(root) == []


@pytest.mark.parametrize(
    ("link", "told"),
    [
        ("docs/none.md", "docs/none.md is no file"),
        ("docs/a.md#one-word", "docs/a.md#one-word is no heading"),
        ("#nothing", "#nothing is no heading"),
        ("../outside.md", "../outside.md is no file"),
    ],
)
def test_a_dead_link_in_a_document_is_found(root: Path, link: str, told: str) -> None:
    (root / "README.md").write_text(f"# Shop\n\n[text]({link})\n")
    assert links.broken_in_documents(root) == [f"README.md: {told}"]


def test_headings_have_the_anchors_of_a_code_host() -> None:
    text = "# A `b` & c, d\n\n## 1. One / two\n\n## Same\n\n## Same\n\n```text\n# no heading\n```\n"
    assert links.anchors(text) == {"a-b--c-d", "1-one--two", "same", "same-1"}


@pytest.mark.parametrize(
    ("html", "told"),
    [
        ('<a href="none.html">', "none.html leads nowhere"),
        ('<a href="b.html#none">', "b.html#none leads nowhere"),
        ('<a href="#none">', "#none leads nowhere"),
        ('<img src="none.png">', "none.png leads nowhere"),
        ('<script src="https://elsewhere.example/x.js">', "is loaded from another host"),
        ('<link rel="stylesheet" href="//fonts.example/css">', "is loaded from another host"),
    ],
)
def test_a_dead_link_of_the_site_is_found(tmp_path: Path, html: str, told: str) -> None:
    (tmp_path / "a.html").write_text(html)
    (tmp_path / "b.html").write_text('<h1 id="top"><a href="a.html">')
    (found,) = links.broken_in_site(tmp_path)
    assert found.startswith("a.html: ")
    assert found.endswith(told)


def test_links_of_the_site_that_lead_somewhere_are_left_alone(tmp_path: Path) -> None:
    good = '<a href="b.html#top"><a href="/b.html"><a href="https://elsewhere.example/"><a href="">'
    (tmp_path / "a.html").write_text(good)
    (tmp_path / "b.html").write_text('<h1 id="top">')
    assert links.broken_in_site(tmp_path) == []


def test_a_style_that_is_loaded_from_another_host_is_found(tmp_path: Path) -> None:
    (tmp_path / "a.css").write_text("@font-face { src: url(https://fonts.example/a.woff2) }")
    assert len(links.broken_in_site(tmp_path)) == 1


@pytest.mark.parametrize("drawing", ["turn.svg", "architecture.svg", "dashboard.svg"])
def test_a_drawing_tells_what_it_shows_and_has_two_sets_of_colours(drawing: str) -> None:
    text = (ROOT / "docs" / drawing).read_text()
    named = re.search(r'role="img" aria-labelledby="([\w-]+) ([\w-]+)"', text)
    assert named is not None
    assert f'<title id="{named[1]}">' in text
    assert f'<desc id="{named[2]}">' in text
    assert "prefers-color-scheme: dark" in text
    assert "http" not in text.replace("http://www.w3.org/2000/svg", "")
