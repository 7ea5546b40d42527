"""Build the site: `python -m docsite` leaves it in build/docs/site. Warnings are errors.

It can be read from the disk: open index.html there. Nothing is loaded from elsewhere. Its search
needs a server, such as `python -m http.server -d build/docs/site`.
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path

from docsite import links, pages, reference

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "build" / "docs"
SETTINGS = Path(__file__).with_name("zensical.toml")
GENERATOR = [sys.executable, "-m", "zensical"]
THEME = Path(__file__).with_name("theme")


def main() -> int:
    """Gather the pages, let them be made, and look whether all is there."""
    broken = links.broken_in_documents(ROOT)
    if broken:
        return complain(broken)
    gather()
    made = subprocess.run(
        [*GENERATOR, "build", "--strict", "--clean", "-f", FOLDER / "zensical.toml"],
        capture_output=True,
        text=True,
        check=False,
    )
    if made.returncode:
        print(made.stdout, made.stderr, sep="", file=sys.stderr)
        return 1
    site = FOLDER / "site"
    broken = [*links.broken_in_site(site), *missing(site)]
    if broken:
        return complain(broken)
    print(f"{len(list(site.rglob('*.html')))} pages: {site / 'index.html'}")
    return 0


def gather() -> None:
    """Put what the site is made of into a folder of its own."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    pages.copy(ROOT, FOLDER / "pages")
    shutil.copytree(THEME, FOLDER / "pages" / "theme")
    written = reference.write(ROOT / "src", FOLDER / "pages")
    chapters = inline(pages.navigation(ROOT, written))
    settings = f"[project]\nnav = {chapters}\n{SETTINGS.read_text()}"
    (FOLDER / "zensical.toml").write_text(settings)


def inline(value: object) -> str:
    """Lists, dicts and text as TOML has them."""
    if isinstance(value, dict):
        return f"{{{', '.join(f'{json.dumps(key)} = {inline(value[key])}' for key in value)}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(inline, value))}]"
    return json.dumps(value)


def missing(site: Path) -> list[str]:
    """Public names that the reference does not tell of, though it was asked to."""
    absent = []
    for page, public in reference.names(ROOT / "src").items():
        told = links.Page(site / "reference" / f"{page}.html").ids
        absent += [f"{name} is not in the reference" for name in public if name not in told]
    return absent


def complain(lines: list[str]) -> int:
    """Say what is wrong."""
    print(*lines, sep="\n", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
