"""Texts that are longer than a platform allows, in parts; and those that are shown in errors."""

from __future__ import annotations

import re
from typing import Final
from unicodedata import combining

__all__ = ["parts_of", "shown", "units"]

QUOTED: Final = re.compile(r'"[^"]*"')

BREAKS: Final = ("\n\n", "\n", ". ", " ")
"""Where to divide a text, the best first."""

JOINER: Final = "\u200d"
JOINING: Final = JOINER + "\ufe0e\ufe0f" + "".join(map(chr, range(0x1F3FB, 0x1F400)))
"""What changes the sign before: a joiner, a choice of its looks, a skin tone."""


def units(text: str) -> int:
    """How long most platforms find a text: in UTF-16 code units. An emoji has two or more."""
    return len(text) + sum(letter > "\uffff" for letter in text)


def parts_of(text: str, longest: int) -> list[str]:
    """A text in parts of at most so many UTF-16 code units.

    It is divided between paragraphs, lines, sentences or words. Nothing but white space between two
    parts is lost. Empty, and blank, stays one part.
    """
    parts = []
    while units(text) > longest:
        cut = _cut(text, _fitting(text, longest))
        parts.append(text[:cut].rstrip())
        text = text[cut:].lstrip()
    parts.append(text)
    return [part for part in parts if part] or [text]


def shown(told: str, *secrets: str | None, longest: int = 200) -> str:
    """What a platform says of a failure, so that it may be logged.

    Without the secrets, and without quotations, which may be of what people said.
    """
    told = QUOTED.sub('"…"', told)
    for secret in secrets:
        told = told.replace(secret, "***") if secret else told
    return told[:longest]


def _fitting(text: str, longest: int) -> int:
    """How many characters of a text fit, which is too long."""
    if text.isascii():
        return longest
    size = 0
    for count, letter in enumerate(text):
        size += 2 if letter > "\uffff" else 1
        if size > longest:
            return count
    return len(text)


def _cut(text: str, most: int) -> int:
    """Where to divide a text, of which so many characters fit: as late as is sensible."""
    for mark in BREAKS:
        at = text.rfind(mark, most // 2, most)
        if at > 0:
            return at + len(mark)
    # In one long word, not between a sign and what is put together with it: an accent, a skin tone.
    for at in range(most, max(most - 16, 0), -1):
        if not (_joins(text[at]) or text[at - 1] == JOINER):
            return at
    return most


def _joins(letter: str) -> bool:
    return combining(letter) > 0 or letter in JOINING
