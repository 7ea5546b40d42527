"""The pytest plugin: `async def` tests run by themselves, and leave nothing behind."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import textwrap
from collections.abc import Sequence

import pytest

from tests.unmeasured import unmeasured

pytest_plugins = ["pytester"]


def outcomes_of(pytester: pytest.Pytester, test: str) -> tuple[dict[str, int], Sequence[str]]:
    """Run a test module by itself, in its order: how many came to what, and the output."""
    pytester.makepyfile(textwrap.dedent(test))
    others = ("randomly", "hypothesispytest", "anyio")  # plugins that came with other packages
    result = pytester.runpytest(*(f"-pno:{name}" for name in others))
    return result.parseoutcomes(), result.outlines


@pytest.fixture
def seven() -> int:
    return 7


# What runs.


async def test_a_coroutine_test_runs_in_an_event_loop() -> None:
    await asyncio.sleep(0)
    assert asyncio.get_running_loop().is_running()


async def test_fixtures_come_as_arguments(seven: int, request: pytest.FixtureRequest) -> None:
    assert seven == 7
    assert request.node.name == "test_fixtures_come_as_arguments"


@pytest.mark.parametrize("word", ["one", "two"])
async def test_parameters_come_as_arguments(word: str) -> None:
    assert word in {"one", "two"}


class TestMethods:
    async def test_a_method_is_a_test_too(self, seven: int) -> None:
        assert seven == 7


def test_each_test_has_a_loop_of_its_own(pytester: pytest.Pytester) -> None:
    outcomes, _ = outcomes_of(
        pytester,
        """
        import asyncio

        loops = []

        async def test_one():
            loops.append(asyncio.get_running_loop())

        async def test_two():
            loops.append(asyncio.get_running_loop())

        def test_they_differ():
            assert loops[0] is not loops[1]
            assert all(loop.is_closed() for loop in loops)
        """,
    )
    assert outcomes == {"passed": 3}


def test_a_coroutine_test_fails_skips_and_fails_as_expected_like_any_other(
    pytester: pytest.Pytester,
) -> None:
    outcomes, lines = outcomes_of(
        pytester,
        """
        import pytest

        async def test_that_fails():
            assert 1 + 1 == 3

        async def test_that_skips():
            pytest.skip("not today")

        @pytest.mark.xfail
        async def test_that_is_expected_to_fail():
            assert False
        """,
    )
    assert outcomes == {"failed": 1, "skipped": 1, "xfailed": 1}
    assert any("assert (1 + 1) == 3" in line for line in lines)


def test_a_plain_test_is_left_as_it_is(pytester: pytest.Pytester) -> None:
    outcomes, _ = outcomes_of(
        pytester,
        """
        import asyncio
        import pytest

        def test_without_a_loop():
            with pytest.raises(RuntimeError):
                asyncio.get_running_loop()
        """,
    )
    assert outcomes == {"passed": 1}


@pytest.mark.parametrize("marker", ["anyio", "asyncio", "trio", "twisted"])
def test_what_is_marked_for_another_plugin_is_left_to_it(
    pytester: pytest.Pytester, marker: str
) -> None:
    pytester.makeconftest(
        f"""
        def pytest_configure(config):
            config.addinivalue_line("markers", "{marker}: theirs")
        """
    )
    pytester.makeini(f"[pytest]\naddopts = -p no:{marker}\n")  # it may be installed here
    outcomes, lines = outcomes_of(
        pytester,
        f"""
        import pytest

        @pytest.mark.{marker}
        async def test_theirs():
            raise AssertionError("run by the wrong plugin")
        """,
    )
    assert outcomes == {"failed": 1}  # by pytest, since the other plugin is not there
    assert any("not natively supported" in line for line in lines)
    assert not any("wrong plugin" in line for line in lines)


def test_what_another_plugin_claims_unmarked_is_left_to_it(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(
        """
        import pytest

        @pytest.hookimpl(tryfirst=True)
        def pytest_pyfunc_call(pyfuncitem):
            return True
        """
    )
    outcomes, _ = outcomes_of(
        pytester,
        """
        async def test_theirs():
            raise AssertionError("run by the wrong plugin")
        """,
    )
    assert outcomes == {"passed": 1}


# What is left behind.


def test_a_test_that_leaves_tasks_fails_and_says_which(pytester: pytest.Pytester) -> None:
    outcomes, lines = outcomes_of(
        pytester,
        """
        import asyncio

        async def wait_for_godot():
            await asyncio.Event().wait()

        async def test_leaky():
            asyncio.get_running_loop().godot = asyncio.create_task(wait_for_godot())
        """,
    )
    assert outcomes == {"failed": 1}
    assert any("left tasks running" in line for line in lines)
    assert any("wait_for_godot" in line for line in lines)


def test_a_task_that_has_only_to_end_is_no_leak(pytester: pytest.Pytester) -> None:
    outcomes, _ = outcomes_of(
        pytester,
        """
        import asyncio

        async def test_tidy():
            task = asyncio.create_task(asyncio.sleep(0))
            await asyncio.sleep(0)
            assert not task.done()
        """,
    )
    assert outcomes == {"passed": 1}


def test_an_exception_of_a_task_that_nobody_awaited_fails_the_test(
    pytester: pytest.Pytester,
) -> None:
    outcomes, lines = outcomes_of(
        pytester,
        """
        import asyncio

        async def explode():
            me = asyncio.current_task()  # the task, its error and its frame hold one another
            raise ValueError("unheard of")

        async def test_deaf():
            asyncio.create_task(explode())
            await asyncio.sleep(0)
        """,
    )
    assert outcomes == {"failed": 1}
    assert any("Task exception was never retrieved" in line for line in lines)
    assert any("ValueError: unheard of" in line for line in lines)


def test_an_exception_of_a_callback_fails_the_test(pytester: pytest.Pytester) -> None:
    outcomes, lines = outcomes_of(
        pytester,
        """
        import asyncio

        async def test_deaf():
            asyncio.get_running_loop().call_soon(lambda: 1 / 0)
            await asyncio.sleep(0)
        """,
    )
    assert outcomes == {"failed": 1}
    assert any("ZeroDivisionError" in line for line in lines)


def test_a_failing_test_fails_with_its_own_error_whatever_it_left(
    pytester: pytest.Pytester,
) -> None:
    outcomes, lines = outcomes_of(
        pytester,
        """
        import asyncio

        async def test_leaky():
            task = asyncio.create_task(asyncio.sleep(60))
            assert False, "its own error"
        """,
    )
    assert outcomes == {"failed": 1}
    assert any("its own error" in line for line in lines)
    assert not any("left tasks running" in line for line in lines)


def test_an_exception_nobody_awaited_is_found_however_old_its_task_is(
    pytester: pytest.Pytester,
) -> None:
    outcomes, lines = outcomes_of(
        pytester,
        """
        import asyncio
        import gc

        async def explode():
            me = asyncio.current_task()
            raise ValueError("unheard of")

        async def test_deaf():
            task = asyncio.create_task(explode())
            await asyncio.sleep(0)
            for _ in range(3):  # as old as an object can become
                gc.collect()
            del task
        """,
    )
    assert outcomes == {"failed": 1}
    assert any("unheard of" in line for line in lines)


def test_the_plugin_is_there_without_configuration_and_loads_next_to_nothing() -> None:
    code = "import sys, barback.testing.plugin; print(*sys.modules)"
    plain = unmeasured()
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=plain
    )
    loaded = set(run.stdout.split())
    assert "barback.testing.plugin" in loaded
    assert loaded.isdisjoint(
        {
            "barback.stores.file",
            "barback.testing.contract",
            "barback.testing.simulator",
            "hypothesis",
            "readline",
            "sqlite3",
        }
    )
