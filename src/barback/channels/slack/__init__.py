"""Slack: the Events API, interactivity and slash commands, over HTTP."""

from barback.channels.multipart import InputFile
from barback.channels.slack.channel import SlackChannel
from barback.channels.slack.client import SlackClient
from barback.channels.slack.markup import escaped
from barback.channels.slack.place import Place

__all__ = ["InputFile", "Place", "SlackChannel", "SlackClient", "escaped"]
