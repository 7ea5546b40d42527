"""Runs the Python examples of README.md and docs as tests."""

import tempfile
from contextlib import ExitStack, chdir
from typing import Any

import pytest
from sybil import Sybil
from sybil.integration.pytest import SybilItem
from sybil.parsers.markdown import PythonCodeBlockParser


def enter_directory(namespace: dict[str, Any]) -> None:
    """Give each document an empty directory to work in, since examples may write files."""
    cleanup = namespace["_cleanup"] = ExitStack()
    cleanup.enter_context(chdir(cleanup.enter_context(tempfile.TemporaryDirectory())))


def leave_directory(namespace: dict[str, Any]) -> None:
    namespace["_cleanup"].close()


pytest_collect_file = Sybil(
    parsers=[PythonCodeBlockParser()],
    patterns=["README.md", "docs/*.md", "docs/*/*.md"],
    setup=enter_directory,
    teardown=leave_directory,
).pytest()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run each document from its top to its end, after the tests, which are shuffled."""
    tests = [item for item in items if not isinstance(item, SybilItem)]
    examples = [item for item in items if isinstance(item, SybilItem)]
    examples.sort(key=lambda item: (item.path, item.example.line))
    items[:] = [*tests, *examples]
