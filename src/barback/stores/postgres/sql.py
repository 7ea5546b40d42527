"""The SQL of the PostgreSQL store: its table, and the statements for each operation.

Those that begin with MANY do what the others do, for as many sessions as there are in the arrays
they are given, and answer with the numbers, from 1, of those for which it was done. They wait for
no row that another has locked: it is as if it were not there, and so one session holds up no other,
and no two statements wait for each other. Only who makes rows waits for whoever makes the same, and
makes them in the order of their ids.

Each statement is a transaction of its own, with the settings that go before it, and asks for
nothing that outlives it: no setting of the session, no prepared statement. So it may reach the
server through a pooler that gives every transaction another connection.
"""

from __future__ import annotations

import math
import re
from typing import Final

from barback.errors import ConfigurationError
from barback.stores.base import SKEW

__all__ = ["Statements", "after", "number", "text", "untext"]

LONGEST_NAME: Final = 63 - len("_expires_at")  # the server cuts longer ones, of the index too
LOCK: Final = 0x6261726261636B  # "barback"; held while the table is made

# Who waits no longer for the answer leaves nothing behind on the server that waits for a lock.
PATIENT: Final = "SELECT set_config('lock_timeout', '{milliseconds}', true)"
# What only lends a session out need not wait for the disk: lost in a crash, it is given back.
QUICK: Final = f"{PATIENT}, set_config('synchronous_commit', 'off', true)"

DDL: Final = """\
CREATE TABLE IF NOT EXISTS {table} (
    id text COLLATE "C" PRIMARY KEY, -- a backslash in it is doubled, and a NUL is \\0
    version bigint,                  -- as in the record, and so is expires_at (milliseconds)
    expires_at bigint,
    record json,                     -- NULL: nothing yet, the session is only lent out
    token text,                      -- whose turn it is, a colon, and its milliseconds
    until timestamptz                -- when it ends, unless renewed
) WITH (fillfactor = 80);
CREATE INDEX IF NOT EXISTS {index} ON {table} (expires_at) WHERE expires_at IS NOT NULL;
"""

# Tokens come with the colon that follows them.
HOLDER: Final = "rtrim(session.token, '0123456789')"

# With more time left than its whole term it was taken before the clock was set back.
OVER: Final = f"""\
session.until <= clock_timestamp() OR session.until > clock_timestamp() + interval '1 ms'
        * ({SKEW} + substring(session.token FROM ':([0-9]+)$')::float8)"""

CHECKOUT: Final = """\
INSERT INTO {table} AS session (id, token, until, expires_at)
SELECT $1::text, $2::text || ceil($3::float8 * 1000)::bigint, lease.until,
    extract(epoch FROM lease.until) * 1000
FROM (SELECT clock_timestamp() + make_interval(secs => $3::float8) AS until) AS lease
ON CONFLICT (id) DO UPDATE
SET token = excluded.token, until = clock_timestamp() + make_interval(secs => $3::float8)
WHERE session.token IS NULL OR {holder} = $2::text
    OR {over}
RETURNING record
"""

COMMIT: Final = """\
UPDATE {table} AS session
SET version = $4::bigint, expires_at = $5::bigint, record = $6::json,
    token = $2::text || ceil($7::float8 * 1000)::bigint,
    until = clock_timestamp() + make_interval(secs => $7::float8)
WHERE id = $1::text AND {holder} = $2::text AND version IS NOT DISTINCT FROM $3::bigint
"""

RELEASE: Final = """\
WITH placeholder AS (
    DELETE FROM {table} AS session
    WHERE id = $1::text AND {holder} = $2::text AND record IS NULL
)
UPDATE {table} AS session SET token = NULL, until = NULL
WHERE id = $1::text AND {holder} = $2::text AND record IS NOT NULL
"""

RENEW: Final = """\
UPDATE {table} AS session SET token = $2::text || ceil($3::float8 * 1000)::bigint,
    until = clock_timestamp() + make_interval(secs => $3::float8)
WHERE id = $1::text AND {holder} = $2::text
"""

DESTROY: Final = """\
DELETE FROM {table} AS session
WHERE id = $1::text AND ($2::text IS NULL OR {holder} = $2::text)
"""

# A row that was made, or removed, since the statement began is somebody else's for now.
MANY_CHECKOUTS: Final = """\
WITH asked AS MATERIALIZED (
    SELECT * FROM unnest($1::text[], $2::text[], $3::float8[])
    WITH ORDINALITY AS asked (id, token, term, number)
), free AS MATERIALIZED (
    SELECT asked.* FROM asked JOIN {table} AS session ON session.id = asked.id
    WHERE session.token IS NULL OR {holder} = asked.token OR {over}
    FOR UPDATE OF session SKIP LOCKED
), taken AS (
    UPDATE {table} AS session
    SET token = free.token || ceil(free.term * 1000)::bigint,
        until = clock_timestamp() + make_interval(secs => free.term)
    FROM free WHERE session.id = free.id
    RETURNING number, record
), made AS (
    INSERT INTO {table} (id, token, until, expires_at)
    SELECT id, token || ceil(term * 1000)::bigint, until, extract(epoch FROM until) * 1000
    FROM (
        SELECT *, clock_timestamp() + make_interval(secs => term) AS until FROM asked
    ) AS lease
    WHERE NOT EXISTS (SELECT FROM {table} AS session WHERE session.id = lease.id)
    ORDER BY id COLLATE "C"
    ON CONFLICT (id) DO NOTHING
    RETURNING id
)
SELECT number, record FROM taken
UNION ALL SELECT number, NULL FROM made JOIN asked USING (id)
"""

MANY_COMMITS: Final = """\
WITH held AS MATERIALIZED (
    SELECT asked.* FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::bigint[],
        $6::json[], $7::float8[])
    WITH ORDINALITY AS asked (id, token, read, version, expires_at, record, term, number)
    JOIN {table} AS session ON session.id = asked.id AND {holder} = asked.token
        AND session.version IS NOT DISTINCT FROM asked.read
    FOR UPDATE OF session SKIP LOCKED
)
UPDATE {table} AS session
SET version = held.version, expires_at = held.expires_at, record = held.record,
    token = held.token || ceil(held.term * 1000)::bigint,
    until = clock_timestamp() + make_interval(secs => held.term)
FROM held WHERE session.id = held.id
RETURNING number
"""

MANY_RELEASES: Final = """\
WITH held AS MATERIALIZED (
    SELECT asked.* FROM unnest($1::text[], $2::text[])
    WITH ORDINALITY AS asked (id, token, number)
    JOIN {table} AS session ON session.id = asked.id AND {holder} = asked.token
    FOR UPDATE OF session SKIP LOCKED
), placeholder AS (
    DELETE FROM {table} AS session USING held
    WHERE session.id = held.id AND session.record IS NULL
), released AS (
    UPDATE {table} AS session SET token = NULL, until = NULL
    FROM held WHERE session.id = held.id AND session.record IS NOT NULL
)
SELECT number FROM held
"""

MANY_RENEWALS: Final = """\
WITH held AS MATERIALIZED (
    SELECT asked.* FROM unnest($1::text[], $2::text[], $3::float8[])
    WITH ORDINALITY AS asked (id, token, term, number)
    JOIN {table} AS session ON session.id = asked.id AND {holder} = asked.token
    FOR UPDATE OF session SKIP LOCKED
)
UPDATE {table} AS session SET token = held.token || ceil(held.term * 1000)::bigint,
    until = clock_timestamp() + make_interval(secs => held.term)
FROM held WHERE session.id = held.id
RETURNING number
"""

ALL: Final = """\
SELECT id, record FROM {table}
WHERE record IS NOT NULL AND id >= $1::text
    AND ($2::text IS NULL OR id < $2::text) AND ($3::text IS NULL OR id > $3::text)
ORDER BY id LIMIT $4::bigint
"""

DUE: Final = """\
SELECT id, record, expires_at FROM {table}
WHERE record IS NOT NULL AND expires_at <= $1::bigint
    AND (expires_at, id) > ($2::bigint, $3::text)
ORDER BY expires_at, id LIMIT $4::bigint
"""

# Who holds such a row is long dead. Its expires_at is when its first lease was to end.
ABANDONED: Final = """\
DELETE FROM {table} USING (
    SELECT id AS abandoned FROM {table}
    WHERE record IS NULL AND until < clock_timestamp() - interval '1 hour'
        AND expires_at < extract(epoch FROM clock_timestamp() - interval '1 hour') * 1000
    ORDER BY expires_at LIMIT $1::bigint FOR UPDATE SKIP LOCKED
) AS placeholder
WHERE id = abandoned
"""

SERVER: Final = """\
SELECT current_setting('server_encoding'), current_setting('client_encoding'),
    current_setting('transaction_read_only')
"""

COLUMNS: Final = """\
SELECT pg_typeof(record), id, version, expires_at, token, until
FROM (SELECT) AS one LEFT JOIN {table} ON false
"""


class Statements:
    """The statements for one table, as the server is sent them.

    `patient` and `quick` are settings: they go before a statement, in its transaction.
    `lock_timeout`: seconds for which it then waits for a lock.
    """

    def __init__(self, table: str, *, lock_timeout: float) -> None:
        name, index = _quoted(table)
        self.ddl = DDL.format(table=name, index=index)
        self.create = _alone(self.ddl).encode()
        self.patient, self.quick = (
            settings.format(milliseconds=math.ceil(lock_timeout * 1000)).encode()
            for settings in (PATIENT, QUICK)
        )
        self.checkout, self.commit, self.release, self.renew, self.destroy = (
            statement.format(table=name, holder=HOLDER, over=OVER).encode()
            for statement in (CHECKOUT, COMMIT, RELEASE, RENEW, DESTROY)
        )
        self.many_checkouts, self.many_commits, self.many_releases, self.many_renewals = (
            statement.format(table=name, holder=HOLDER, over=OVER).encode()
            for statement in (MANY_CHECKOUTS, MANY_COMMITS, MANY_RELEASES, MANY_RENEWALS)
        )
        self.all, self.due, self.abandoned, self.columns = (
            statement.format(table=name).encode() for statement in (ALL, DUE, ABANDONED, COLUMNS)
        )
        self.server = SERVER.encode()


def text(value: str) -> bytes:
    """A text for the server, which knows no NUL. What starts a text also starts its result."""
    return value.replace("\\", "\\\\").replace("\0", "\\0").encode()


def untext(value: bytes) -> str:
    """What `text` was given."""
    return re.sub(r"\\(.)", lambda pair: "\0" if pair[1] == "0" else "\\", value.decode())


def number(value: float | None) -> bytes | None:
    """A number for the server, or NULL."""
    return None if value is None else str(value).encode()


def after(start: bytes) -> bytes | None:
    """The first text, as `text` gives it, after all that start so; None if there is none."""
    characters = start.decode()
    for last in reversed(range(len(characters))):
        code = ord(characters[last])
        if code < 0x10FFFF:  # noqa: PLR2004 - the last character there is
            following = 0xE000 if code == 0xD7FF else code + 1  # noqa: PLR2004 - between is no text
            return f"{characters[:last]}{chr(following)}".encode()
    return None


def _quoted(table: str) -> tuple[str, str]:
    """The table's name and its index's, as SQL; a dot stands between a schema and a table."""
    schema, dot, name = table.rpartition(".")
    for part in (schema, name) if dot else (name,):
        if not part or "\0" in part or len(part.encode(errors="replace")) > LONGEST_NAME:
            message = (
                f"A table is called NAME or SCHEMA.NAME, of at most {LONGEST_NAME} bytes each, "
                f"not {table!r}."
            )
            raise ConfigurationError(message)
    quoted = _identifier(name)
    return (
        f"{_identifier(schema)}.{quoted}" if dot else quoted,
        _identifier(f"{name}_expires_at"),
    )


def _identifier(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _alone(ddl: str) -> str:
    """The same in one statement, by one at a time: IF NOT EXISTS alone does not keep them apart."""
    body = f"BEGIN PERFORM pg_advisory_xact_lock({LOCK}); {ddl} END"
    return "DO E'" + body.replace("\\", "\\\\").replace("'", "''") + "'"
