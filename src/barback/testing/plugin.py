"""A pytest plugin: runs `async def` tests, and fails one that leaves work or errors behind.

It comes with barback and needs no configuration. Each test has an event loop of its own, and
takes fixtures as any test does (the fixtures themselves are plain functions: open what is
asynchronous with `async with`, in the test). Tests marked for another plugin are left to it, and
so is what another plugin claims unmarked.

A test that passed fails after all if it leaves tasks running, or if an exception reached nobody
but the event loop (a task that failed and was never awaited, a callback that raised).
"""

from __future__ import annotations

import asyncio
import gc
import inspect
import traceback
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__: list[str] = []

OTHERS: Final = ("anyio", "asyncio", "trio", "twisted")
"""The markers by which a test is given to another plugin."""


# Neither first nor last: those that claim a marked test go first, and pytest's own, which refuses
# every coroutine, goes after all others.
@pytest.hookimpl
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run the test if it is `async def` and nobody else's."""
    test = pyfuncitem.obj
    if not inspect.iscoroutinefunction(test) or any(map(pyfuncitem.get_closest_marker, OTHERS)):
        return None
    names = pyfuncitem._fixtureinfo.argnames  # noqa: SLF001 - as pytest's own hook has to
    unheard: list[str] = []
    with _own_garbage(), asyncio.Runner() as runner:
        runner.get_loop().set_exception_handler(lambda _, told: unheard.append(_described(told)))
        leftover = runner.run(_run(test(**{name: pyfuncitem.funcargs[name] for name in names})))
        if leftover:
            pytest.fail("The test left tasks running:\n" + "\n".join(leftover), pytrace=False)
    if unheard:
        pytest.fail("Errors reached nobody:\n" + "\n".join(unheard), pytrace=False)
    return True


@contextmanager
def _own_garbage() -> Iterator[None]:
    """At the end, throw away all that was made inside and is not used any more.

    A task says that nobody awaited its exception when it is thrown away. What there was before is
    set aside meanwhile: looking through it after every test would take long.
    """
    gc.freeze()
    try:
        yield
        gc.collect()
    finally:
        gc.unfreeze()


async def _run(test: Any) -> list[str]:
    """Await the test, and describe the tasks it left: one that ends at once is none of them."""
    await test
    await asyncio.sleep(0)
    return [f"- {task!r}" for task in asyncio.all_tasks() - {asyncio.current_task()}]


def _described(told: dict[str, Any]) -> str:
    error = told.get("exception")
    trace = "" if error is None else "\n" + "".join(traceback.format_exception(error)).rstrip()
    return f"- {told['message']}{trace}"
