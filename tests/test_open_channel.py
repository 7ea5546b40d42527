"""Channels by their names, as packages announce them."""

from __future__ import annotations

from pathlib import Path

import pytest

from barback import ConfigurationError, MissingExtra
from barback.channels.opening import open_channel

MODULE = """
from barback import Channel, MissingExtra

class Pigeon(Channel):
    name = "pigeon"

    @classmethod
    def from_environment(cls, environ):
        pigeon = cls()
        pigeon.loft = environ["LOFT"]
        return pigeon

    async def send_text(self, context, text):
        pass

class Stone:
    @classmethod
    def from_environment(cls, environ):
        return cls()

class Handmade(Channel):
    async def send_text(self, context, text):
        pass

def __getattr__(name):
    if name == "Needy":
        raise MissingExtra("pip install it")
    raise AttributeError(name)
"""
NAMES = """[barback.channels]
pigeon = pigeons:Pigeon
stone = pigeons:Stone
handmade = pigeons:Handmade
gone = pigeons:Gone
nowhere = no_such_module:Channel
needy = pigeons:Needy
"""


@pytest.fixture(autouse=True)
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pigeons.py").write_text(MODULE)
    about = tmp_path / "pigeons-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: pigeons\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(NAMES)
    monkeypatch.syspath_prepend(tmp_path)


def test_a_channel_of_another_package_is_made_of_the_environment() -> None:
    channel = open_channel("pigeon", {"LOFT": "roof"})
    assert channel.name == "pigeon"
    assert channel.loft == "roof"  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("stone", "is no barback.Channel"),
        ("handmade", "cannot be made from the environment"),
        ("gone", "its entry point is pigeons:Gone"),
        ("nowhere", "its entry point is no_such_module:Channel"),
        ("raven", "There is no channel 'raven'. Installed are: .*pigeon"),
    ],
)
def test_what_cannot_be_opened_is_said(name: str, told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        open_channel(name, {})


def test_an_extra_that_is_missing_is_named() -> None:
    with pytest.raises(MissingExtra, match="pip install it"):
        open_channel("needy", {})
