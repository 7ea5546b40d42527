"""Files in a request: `multipart/form-data` (RFC 7578)."""

from __future__ import annotations

import asyncio
import mimetypes
import secrets
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["InputFile", "multipart"]


class InputFile(msgspec.Struct, frozen=True):
    """A file to upload: its bytes, or its path, and the name it is to have.

    The name is that of the path unless given, or else "file".
    """

    content: bytes | Path
    name: str | None = None

    async def read(self) -> bytes:
        """All that is in it. Raises `OSError`."""
        if isinstance(self.content, Path):
            return await asyncio.to_thread(self.content.read_bytes)
        return self.content

    @property
    def shown_name(self) -> str:
        """The name it has for the platform."""
        if self.name is not None:
            return self.name
        return self.content.name if isinstance(self.content, Path) else "file"

    @property
    def content_type(self) -> str:
        """What its name says that it is."""
        return mimetypes.guess_type(self.shown_name)[0] or "application/octet-stream"

    def __repr__(self) -> str:
        return f"<InputFile {self.shown_name!r}>"


async def multipart(fields: Mapping[str, str], files: Mapping[str, InputFile]) -> tuple[bytes, str]:
    """A body of fields and files, and its content type."""
    boundary = secrets.token_hex(16)
    parts: list[bytes] = []
    for name, value in fields.items():
        parts += [_head(boundary, f'name="{_quoted(name)}"'), value.encode(), b"\r\n"]
    for name, file in files.items():
        told = f'name="{_quoted(name)}"; filename="{_quoted(file.shown_name)}"'
        parts += [_head(boundary, told, file.content_type), await file.read(), b"\r\n"]
    parts.append(f"--{boundary}--\r\n".encode())
    return b"".join(parts), f"multipart/form-data; boundary={boundary}"


def _head(boundary: str, told: str, kind: str | None = None) -> bytes:
    content_type = "" if kind is None else f"Content-Type: {kind}\r\n"
    return f"--{boundary}\r\nContent-Disposition: form-data; {told}\r\n{content_type}\r\n".encode()


def _quoted(name: str) -> str:
    return name.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")
