"""Source: a bot's code, loaded anew when it changes."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import ModuleType

    from barback.bot import Bot

__all__ = ["Source"]

OWN: Final = Path(__file__).parent.parent
MOST_FOLDERS: Final = 1000


class Source:
    """The bot that `name` says, such as "shop:bot"; `load` imports it.

    Its code are the modules that lie in `folder` and in no environment there.
    """

    def __init__(self, name: str, load: Callable[[str], Bot[Any]], folder: Path) -> None:
        self.name = name
        self._load = load
        self._folder = folder.resolve()
        self._seen: dict[Path, float] = {}

    def load(self) -> Bot[Any]:
        """Import it, anew if it has been imported. Raises what loading raises."""
        before = dict(self._modules())
        for module_name in before:
            del sys.modules[module_name]
        # Files that are written while they are imported have changed all the same.
        self._seen = _times(self._files())
        try:
            bot = self._load(self.name)
        except BaseException:
            # So that whatever still runs of the code before finds its own modules.
            sys.modules.update(before)
            raise
        loaded = {Path(str(module.__file__)) for _, module in self._modules()}
        self._seen = {path: at for path, at in self._seen.items() if path in loaded} | {
            path: at for path, at in _times(loaded).items() if path not in self._seen
        }
        return bot

    def _files(self) -> Iterator[Path]:
        """What may be code of the bot, as long as nobody knows which of it is."""
        for number, (folder, folders, names) in enumerate(os.walk(self._folder)):
            folders[:] = [name for name in folders if _is_package(Path(folder, name))]
            yield from (Path(folder, name) for name in names if name.endswith(".py"))
            if number > MOST_FOLDERS:
                return

    def has_changed(self) -> bool:
        """Whether a file has been written, or is gone, since it was loaded."""
        return _times(self._seen.keys()) != self._seen

    def _modules(self) -> Iterator[tuple[str, ModuleType]]:
        """The modules of the code, by their names."""
        for name, module in list(sys.modules.items()):
            file = getattr(module, "__file__", None)
            if name == "__main__" or not isinstance(file, str):
                continue
            path = Path(file)
            if path.is_relative_to(self._folder) and not _is_others(path, self._folder):
                yield name, module


def _is_package(folder: Path) -> bool:
    """Whether modules may lie in a folder: not in an environment, or what tools keep there."""
    name = folder.name
    return name.isidentifier() and name != "node_modules" and not (folder / "pyvenv.cfg").exists()


def _is_others(path: Path, folder: Path) -> bool:
    """Whether a file below `folder` is barback's own, or belongs to what is installed there."""
    if path.is_relative_to(OWN):
        return True
    if path.is_relative_to(sys.prefix) and Path(sys.prefix) != folder:
        return True
    return "site-packages" in path.relative_to(folder).parts


def _times(paths: Any) -> dict[Path, float]:
    found = {}
    for path in paths:
        try:
            found[path] = path.stat().st_mtime_ns
        except OSError:
            found[path] = 0
    return found
