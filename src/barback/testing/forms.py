"""Forms with files, as platforms are sent them."""

from __future__ import annotations

from email import message_from_bytes
from email.message import Message
from typing import Any

__all__ = ["parts_of_form"]


def parts_of_form(kind: str, body: bytes) -> tuple[dict[str, Any], dict[str, bytes]]:
    """The fields and the files of a body of this content type."""
    params: dict[str, Any] = {}
    files: dict[str, bytes] = {}
    form = message_from_bytes(b"Content-Type: " + kind.encode() + b"\r\n\r\n" + body)
    for part in form.get_payload():
        assert isinstance(part, Message)
        name = str(part.get_param("name", header="content-disposition"))
        content = part.get_payload(decode=True)
        assert isinstance(content, bytes)
        if part.get_filename() is not None:
            files[name] = content
        else:
            params[name] = content.decode()
    return params, files
