"""To be written."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Self


class MongoServer:
    url: str

    def __init__(self, folder: Path) -> None: ...

    def __enter__(self) -> Self:
        raise NotImplementedError

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...
