"""Our stores keep the contract."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from barback.stores.base import LeasedStore, SessionStore
from barback.stores.file import FileSessionStore
from barback.stores.file.records import file_name
from barback.stores.memory import MemorySessionStore
from barback.testing.contract import ListedStoreContract, StoreContract

pytest_plugins = ["pytester"]

EXAMPLE = Path(__file__).parent.parent / "examples" / "custom_store.py"


class TestMemory(ListedStoreContract):
    @pytest.fixture
    def store(self) -> MemorySessionStore:
        return MemorySessionStore()


class TestFile(ListedStoreContract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> FileSessionStore:
        return FileSessionStore(tmp_path / "sessions")

    async def damage(self, store: SessionStore | LeasedStore, session_id: str) -> None:
        assert isinstance(store, FileSessionStore)
        path = Path(store.dirname) / file_name(session_id)
        data = path.read_bytes()
        path.write_bytes(data[: len(data) // 2])


class TestCustom(StoreContract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> SessionStore:
        return custom_store(tmp_path / "sessions.db")


def custom_store(path: Path) -> SessionStore:
    """The store of the example, which is a script and no module of ours."""
    spec = importlib.util.spec_from_file_location("custom_store", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    store: SessionStore = module.TableStore(path)
    return store


def test_one_subclass_with_one_fixture_is_all_an_author_writes(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import pytest
        from barback import MemorySessionStore
        from barback.testing import ListedStoreContract


        class TestMyStore(ListedStoreContract):
            @pytest.fixture
            def store(self):
                return MemorySessionStore()
        """
    )
    outcomes = pytester.runpytest_subprocess("-Werror").parseoutcomes()
    assert {"passed"} == outcomes.keys()
    assert outcomes["passed"] > 150


@pytest.mark.parametrize("contract", [StoreContract, ListedStoreContract])
def test_every_test_of_the_contract_tells_its_rule(contract: type[StoreContract]) -> None:
    tests = [name for name in dir(contract) if name.startswith("test")]
    assert len(tests) > 50
    assert [name for name in tests if not (getattr(contract, name).__doc__ or "").strip()] == []
