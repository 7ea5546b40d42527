"""The web app of a bot: one webhook for each channel. It needs the extra `web`."""

from barback.web.app import app_of

__all__ = ["app_of"]
