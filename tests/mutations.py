"""Are the guarantees' tests any good? Break the turn, one way after another, and see them fail.

    python3 dev.py mutate [NAME…]

For each of `MUTATIONS` a copy of the package is made, something in it is replaced, and the tests
named for it must fail on the copy. With `NOTHING` replaced all of these tests must pass: or else
they would fail of anything. It prints a table, and ends with 1 if a mutation was not caught. Where
all of them were tried, the table is put into docs/guarantees.md.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src"
DOCUMENT = ROOT / "docs" / "guarantees.md"
MARKS = ("<!-- the mutations begin -->", "<!-- the mutations end -->")
PATIENCE = 200  # seconds that tests may take: a turn that is broken may hang

EXPLORED = "tests/test_guarantees_explored.py"
OVERLOAD = "tests/test_overload.py"
TURNS = "tests/test_guarantees.py"
REDELIVERY = "tests/test_redelivery.py -k sqlite"
MATRIX = "tests/test_fault_cells.py -k"  # and the name of a cell


@dataclass(frozen=True)
class Mutation:
    """What is broken: in `file`, `old` becomes `new`; `tests` are to find it out.

    `end`: what `new` needs, at the end of the file.
    """

    name: str
    file: str
    old: str
    new: str
    tests: str = EXPLORED
    end: str = ""


NOTHING = Mutation("nothing at all", "turn.py", "class Turns:", "class Turns:")

MUTATIONS = [
    Mutation(
        "leases exclude nobody",
        "stores/local.py",
        "            if not own and until > now:\n                raise",
        "            if False:\n                raise",
    ),
    Mutation(
        "a commit does not look whose the lease is",
        "stores/local.py",
        "        if holder is None or holder[0] != lease.token:\n"
        "            if holder is not None:\n"
        "                self._held[session_id] = holder\n"
        "            raise answers.lost(self._store, session_id)",
        "        pass",
        TURNS,
    ),
    Mutation(
        "a commit does not look at the version",
        "stores/memory.py",
        "        if (None if stored is None else stored.version) != lease.version:\n"
        "            raise answers.lost(self.name, session_id)",
        "        pass",
    ),
    Mutation(
        "a turn commits twice",
        "turn.py",
        "                            await writing.answer\n",
        "                            await writing.answer\n"
        "                            await self.store.commit(record, turn.lease, keep=keep)\n",
    ),
    Mutation(
        "an event is marked seen before its commit",
        "turn.py",
        "        # handle\n",
        "        # handle\n        self._remember(turn)\n",
    ),
    Mutation(
        "an event whose handler failed counts as handled",
        "turn.py",
        "        turn.start_over(self.states)\n        if rescue is None:\n",
        "        turn.start_over(self.states)\n"
        "        self._remember(turn)\n        if rescue is None:\n",
        REDELIVERY,
    ),
    Mutation(
        "no event is known again",
        "turn.py",
        "            (record is not None and event_id in record.seen)\n            or",
        "            False\n            or",
    ),
    Mutation(
        "an answer that was lost is taken for a commit",
        "turn.py",
        "                    own = await self._operations.finish("
        "self._commits.resolve(turn, record, lost))",
        "                    del lost",
    ),
    Mutation(
        "an answer that was lost is taken for a refusal",
        "turn.py",
        "                except CommitUnknown as lost:\n",
        "                except CommitUnknown as lost:\n"
        '                    raise LeaseLost("Nothing was written.") from lost\n',
    ),
    Mutation(
        "a commit whose answer was lost is sent again without looking",
        "commit.py",
        "            if stored is not None and turn_id in stored.seen:",
        "            if False:",
    ),
    Mutation(
        "a late commit is not fenced off",
        "commit.py",
        "                    await self._fence(turn, lost)\n",
        "",
    ),
    Mutation(
        "an outage while a commit is fenced off is taken for its end",
        "commit.py",
        "        except NotDone:\n            raise self._unknown(turn) from lost\n",
        "        except NotDone:\n            return\n",
    ),
    Mutation(
        "a look that went unheard is taken not to have taken the lease again",
        "commit.py",
        "            if untouched and not unheard:\n",
        "            if untouched:\n",
    ),
    Mutation(
        "a lease that was lost is handed on",
        "turn.py",
        "            and not turn.lost\n",
        "",
        TURNS,
    ),
    Mutation(
        "a lease handed to one that has gone is not given back",
        "turn.py",
        "        self._operations.start(self.store.release(lease.session_id, lease))\n",
        "        del lease\n",
        TURNS,
    ),
    Mutation(
        "one that is cancelled as it is called keeps its place",
        "queue.py",
        "            if _called(place):",
        "            if False:",
        TURNS,
    ),
    Mutation(
        "whoever waits longest is forgotten",
        "queue.py",
        "            if not place.done():\n                place.set_result(handed)\n",
        "            if not place.done() and line:\n                place.set_result(handed)\n",
    ),
    Mutation(
        "leases are not renewed",
        "keeper.py",
        "            elif turn.renewal_due() <= now:\n",
        "            elif False:\n",
    ),
    Mutation(
        "a lease that was lost does not stop its handler's commit",
        "commit.py",
        "            if untouched or stored is None or not _window_holds(turn.record, stored):",
        "            if False:",
    ),
    Mutation(
        "the lease is not given back where nothing was written",
        "turn.py",
        "                given_back = await self._commits.release(turn)\n",
        "                given_back = True\n",
    ),
    Mutation(
        "a cancelled commit is not waited for",
        "turn.py",
        "                            await self._operations.outlast(writing)\n",
        "",
        EXPLORED,
    ),
    Mutation(
        "a cancelled checkout keeps its lease",
        "checkout.py",
        "        elif isinstance(error, asyncio.CancelledError):\n",
        "        elif False:\n",
        TURNS,
    ),
    Mutation(
        "a session keeps its place for ever",
        "turn.py",
        "            and turn.hand_overs + 1 < self.rules.hand_overs\n",
        "",
        OVERLOAD,
    ),
    Mutation(
        "everybody may wait",
        "queue.py",
        "        if line is not None and len(line) >= self._most_for_one:",
        "        if False:",
        OVERLOAD,
    ),
    Mutation(
        "an expired session goes on",
        "turn.py",
        "record.expires_at is None or record.expires_at > read_at",
        "True",
        TURNS,
    ),
    Mutation(
        "an expired session takes the ids of its events along",
        "commit.py",
        "seen = {turn_id: now} if read is None else",
        "seen = {turn_id: now} if kept is None else",
        TURNS,
    ),
    Mutation(
        "events of a session run in any order",
        "queue.py",
        "            place = line.popleft()",
        "            place = line.pop()",
        TURNS,
    ),
    Mutation(
        "a handler that failed is committed all the same",
        "turn.py",
        "        turn.start_over(self.states)\n        if rescue is None:",
        "        turn.state = turn.draft.changed()\n        if rescue is None:",
        TURNS,
    ),
    Mutation(
        "a handler that runs too long is left alone",
        "keeper.py",
        "            elif turn.deadline <= now:\n                turn.interrupt(",
        "            elif False:\n                turn.interrupt(",
        TURNS,
    ),
    Mutation(
        "what is changed after the turn is taken",
        "turn.py",
        "        turn.draft.closed = True\n        return error",
        "        return error",
        TURNS,
    ),
    Mutation(
        "a nested change is none",
        "state.py",
        "        return None if encoded == self.base else encoded",
        "        return None if value.keys() == decode_state(self.base, '').keys() else encoded",
        TURNS,
    ),
    Mutation(
        "ids of events are kept without end",
        "commit.py",
        "        while len(seen) >= limit:\n            del seen[next(iter(seen))]\n",
        "",
        TURNS,
    ),
    Mutation(
        "sessions share their initial state",
        "state.py",
        "self.decoded = decode_state(self._base or self.base, self._session_id)",
        "self.decoded = _SHARED.setdefault(self.base, decode_state(self.base, ''))",
        TURNS,
        end="\n\n_SHARED: dict[bytes, State] = {}\n",
    ),
    Mutation(
        "Redis takes a commit of whoever sends it",
        "stores/redis/scripts.py",
        "if holder ~= ARGV[1] then return 0 end\n"
        "if redis.call('GETRANGE', KEYS[1], 0, 15) ~= ARGV[2] then return 0 end\n",
        "",
        f"{MATRIX} Redis-stopped",
    ),
    Mutation(
        "PostgreSQL takes a commit of whoever sends it",
        "stores/postgres/sql.py",
        "AND {holder} = $2::text AND version IS NOT DISTINCT FROM $3::bigint",
        "AND ($2::text IS NOT NULL OR $3::bigint IS NULL)",
        f"{MATRIX} PostgreSQL-stopped",
    ),
    Mutation(
        "PostgreSQL takes many commits at once of whoever sends them",
        "stores/postgres/sql.py",
        " AND {holder} = asked.token\n"
        "        AND session.version IS NOT DISTINCT FROM asked.read\n",
        "\n",
        f"{TURNS} -k postgres",
    ),
    Mutation(
        "Redis calls a commit refused whose answer was lost",
        "stores/redis/asking.py",
        "        failure = self._unknown(error, session_id) if writes else None\n",
        "        failure = None\n",
        f"{MATRIX} Redis-after",
    ),
    Mutation(
        "leases of files never end",
        "stores/file/leases.py",
        "        return 0 <= now - self.taken_at < self.term\n",
        "        return True\n",
        f"{MATRIX} file-killed",
    ),
]


def main(names: list[str]) -> int:
    """Try the mutations that have these words in their names; without any, all."""
    chosen = [each for each in MUTATIONS if all(name in each.name for name in names)]
    rows, failures = ["| what is broken | what fails |", "| --- | --- |"], 0
    for mutation in chosen if names else [NOTHING, *chosen]:
        if mutation is NOTHING:
            told = without_any({each.tests: None for each in chosen})
            failures += told != "nothing"
        else:
            passed, told = tried(mutation)
            failures += passed
            told = "NOT CAUGHT" if passed else told
        rows.append(f"| {mutation.name} | {told} |")
        sys.stdout.write(f"{rows[-1]}\n")
        sys.stdout.flush()
    if not names:
        write("\n".join(rows))
    return min(failures, 1)


def without_any(tests: Iterable[str]) -> str:
    """What fails of these tests where nothing is broken."""
    for each in tests:
        passed, told = tried(replace(NOTHING, tests=each))
        if not passed:
            return f"ALL THE SAME: {told}"
    return "nothing"


def tried(mutation: Mutation) -> tuple[bool, str]:
    """Whether the tests pass on a copy that has been broken so, and the first that does not."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "src"
        shutil.copytree(SOURCE, copy, ignore=shutil.ignore_patterns("__pycache__"))
        path = copy / "barback" / mutation.file
        text = path.read_text()
        if text.count(mutation.old) != 1:
            sys.exit(f"{mutation.name}: {mutation.file} has not that text, or more than once.")
        text = text.replace(mutation.old, mutation.new)
        path.write_text(text + mutation.end)
        command = [
            *(sys.executable, "-m", "pytest", "-x", "-q"),
            *("-p", "no:cacheprovider", "-p", "no:randomly", "--timeout", "45"),
            *shlex.split(mutation.tests),
        ]
        environment = {**os.environ, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
        try:
            done = subprocess.run(
                command,
                cwd=ROOT,
                env=environment,
                capture_output=True,
                text=True,
                timeout=PATIENCE,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return False, "it hangs"
    if done.returncode == 0:
        return True, ""
    if done.returncode != 1 or "ERROR at setup of" in done.stdout:  # it is not the test that failed
        sys.exit(f"{mutation.name}: pytest ended with {done.returncode}.\n{done.stdout[-2000:]}")
    failed = re.search(r"^(?:FAILED|ERROR) \S+?::(.+?)(?: - .*)?$", done.stdout, re.MULTILINE)
    return False, f"`{failed[1]}`" if failed else "pytest was ended"


def write(text: str) -> None:
    """Put the table into the document that keeps it."""
    before, rest = DOCUMENT.read_text().split(MARKS[0])
    after = rest.split(MARKS[1])[1]
    DOCUMENT.write_text(f"{before}{MARKS[0]}\n\n{text}\n\n{MARKS[1]}{after}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
