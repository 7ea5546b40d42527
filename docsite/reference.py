"""The reference: pages of the public names, whose docstrings the site's generator reads.

Nothing of barback is imported: the names are those that its packages list in `__all__`.
"""

import ast
from pathlib import Path

# A name is on the first page whose modules it is from, and otherwise on the first of all.
PAGES = {
    "bot": ("Bots", "A bot, and what comes of the events that it is given.", ()),
    "context": (
        "What a handler is given",
        "Events, sessions and their histories, as handlers see them.",
        ("events", "context", "session", "history", "scope"),
    ),
    "stores": (
        "Stores",
        "Where sessions rest. [Stores](../stores.md) says which to choose, and what each promises.",
        ("stores", "record", "encryption"),
    ),
    "channels": (
        "Channels",
        "The platforms that a bot is on. [Webhooks and the web app](../web.md) says what they do.",
        ("channels",),
    ),
    "errors": (
        "Errors",
        "Every error that barback raises on purpose is a `BarbackError`.",
        ("errors",),
    ),
}
TESTING = "For your tests. [Testing](../testing.md) tells what to take for what."
WHOLE = ["inherited_members: true", "show_bases: false"]  # nobody need know what it is made of
CONTRACT = ["inherited_members: true", 'filters: ["!^_", "!^test_"]']
"""Of a class of tests it is of interest what a subclass may set, and not how they are called."""

# What is shown of a name, if not what it says of itself only.
OPTIONS = {
    "Bot": WHOLE,
    "LeasedStore": WHOLE,
    "ListedStoreContract": CONTRACT,
    "SessionStore": WHOLE,
    "StoreContract": CONTRACT,
}


def exported(source: Path) -> list[str]:
    """What a module lists in its `__all__`."""
    for node in ast.parse(source.read_text()).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return list(ast.literal_eval(node.value))
    raise LookupError(f"{source} has no __all__.")


def imports(source: Path) -> dict[str, tuple[str, bool]]:
    """From which module a package has each name, and whether it is imported `as` the same name.

    That marks what is public too, though in no `__all__`: what needs an extra.
    """
    found = {}
    for node in ast.walk(ast.parse(source.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module is not None:
            for alias in node.names:
                found[alias.asname or alias.name] = node.module, alias.asname == alias.name
    return found


def names(src: Path) -> dict[str, list[str]]:
    """The public names, with what they are imported from, by the page that they are on."""
    package = src / "barback" / "__init__.py"
    imported = imports(package)
    public = {*exported(package), *(name for name, (_, marked) in imported.items() if marked)}
    pages: dict[str, list[str]] = {page: [] for page in PAGES}
    for name in sorted(public):
        module, _ = imported.get(name, ("barback", False))
        pages[page_of(module)].append(f"barback.{name}")
    for platform in sorted((src / "barback" / "channels").glob("*/__init__.py")):
        module = f"barback.channels.{platform.parent.name}"
        pages["channels"] += [
            f"{module}.{name}" for name in exported(platform) if name not in public
        ]
    tools = exported(src / "barback" / "testing" / "__init__.py")
    pages["testing"] = [f"barback.testing.{name}" for name in tools]
    return pages


def page_of(module: str) -> str:
    """The page that names of a module are on."""
    part = module.split(".")[1:2]
    for page, (_, _, parts) in PAGES.items():
        if part and part[0] in parts:
            return page
    return next(iter(PAGES))


def write(src: Path, target: Path) -> list[str]:
    """Write the pages of the reference into the folder `reference`; return their paths."""
    folder = target / "reference"
    folder.mkdir()
    written = []
    for page, public in names(src).items():
        title, about, _ = PAGES.get(page, ("Testing", TESTING, ()))
        lines = [f"# {title}", "", about, ""]
        for name in public:
            special = options(name.rpartition(".")[2])
            lines += [f"::: {name}", *(["    options:"] if special else [])]
            lines += [*(f"      {option}" for option in special), ""]
        (folder / f"{page}.md").write_text("\n".join(lines))
        written.append(f"reference/{page}.md")
    return written


def options(name: str) -> list[str]:
    """What the generator is told of a name: a platform's client is shown whole too."""
    return OPTIONS.get(name, WHOLE if name.endswith("Client") else [])
