"""Slack's markup of texts: https://docs.slack.dev/messaging/formatting-message-text."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["escaped", "said", "unescaped"]

LINK: Final = re.compile(r"<([^<>|@#!][^<>|]*)(?:\|([^<>]*))?>")
"""An address, and perhaps what stands for it. People, channels and groups begin with a sign."""


def escaped(text: str) -> str:
    """A text that Slack takes literally: a "<@U42>" in it calls nobody."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def unescaped(text: str) -> str:
    """The text that was escaped."""
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


def said(text: str) -> str:
    """What a person has typed, of the text that Slack makes of it.

    An address is what they wrote for it. Mentions stay as Slack has them: `<@U42>`, `<#C1|news>`.
    """
    return unescaped(LINK.sub(lambda found: found[2] or found[1], text))
