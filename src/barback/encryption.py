"""Encryption: the keys with which states are encrypted before they reach a store."""

from __future__ import annotations

import base64
import os
import re
import secrets
import stat
from collections.abc import Mapping
from typing import Final, NoReturn, Self

import msgspec

from barback.envelope import KEY_BYTES, Envelope, Key
from barback.errors import (
    ConfigurationError,
    KeyMissing,
    SessionNotEncrypted,
    SessionTampered,
    WrongKey,
)
from barback.record import FORMAT_SEALED, Record

__all__ = ["Keys"]

MAX_BYTES: Final = 64 * 1024  # of a file of keys
OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO
NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")

FORM: Final = "name=key, the key as base64 of 32 bytes, one on each line or with commas between"


class Keys:
    """A ring of named keys. States are encrypted with one of them, and read with any.

        keys = Keys({"2026-11": "7ZkM…", "2025-03": "tLw1…"}, current="2026-11")
        bot = Bot(encryption=keys)

    - `keys`: by their names, each 32 bytes or the base64 text of so many. `Keys.generate()` makes
      one. A name is 1 to 64 letters, digits, "_", "." or "-", and rests readable in the store: do
      not give it to another key, ever.
    - `current`: the name of the key that is encrypted with; the first unless set.
    - `accept_plain`: read also states that are not encrypted, as there are in a store that was
      used without keys. Whoever can write to the store can put such a state there.

    The ring may be changed while bots run. Give a new key to every process with `add` before the
    first of them is told to `use` it, and `remove` an old one when nothing is encrypted with it any
    more. It shows no key, in no message and no repr, and cannot be pickled or copied.

    Raises `ConfigurationError` for what is no key, and `MissingExtra` where `barback[encryption]`
    is not installed.
    """

    __slots__ = ("_current", "_ring", "accept_plain")

    def __init__(
        self,
        keys: Mapping[str, bytes | str],
        *,
        current: str | None = None,
        accept_plain: bool = False,
    ) -> None:
        if not isinstance(keys, Mapping) or not keys:
            message = 'Keys are given as a mapping, {"name": key}, of one at least.'
            raise ConfigurationError(message)
        self.accept_plain = accept_plain
        self._ring: dict[str, Key] = {}
        for number, (name, key) in enumerate(keys.items(), 1):
            self._ring[name] = _key(name, key, f"Key {number} of {len(keys)}")
        self._current = next(iter(self._ring.values())) if current is None else self._of(current)

    @staticmethod
    def generate() -> str:
        """A new key, from the system's source of secrets, as base64 text."""
        return base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode()

    @classmethod
    def from_text(cls, text: str, *, accept_plain: bool = False, source: str = "The text") -> Self:
        """The keys that a text holds, of which the first is current.

        The form is `name=key`, one on each line or with commas between; the key is base64. Empty
        lines, and those that begin with "#", are left out. `source` is what an error calls the
        text. Raises `ConfigurationError`, which says where and not what.
        """
        keys: dict[str, bytes | str] = {}
        for number, entry in enumerate(_entries(text), 1):
            name, _, key = entry.partition("=")
            where = f"{source} is to hold {FORM}. Entry {number}"
            name = name.strip()
            _key(name, key.strip(), where)
            if name in keys:
                message = f"{where} has a name that is there already."
                raise ConfigurationError(message)
            keys[name] = key.strip()
        if not keys:
            message = f"{source} is to hold {FORM}. There is none."
            raise ConfigurationError(message)
        return cls(keys, accept_plain=accept_plain)

    @classmethod
    def from_environment(
        cls, variable: str = "BARBACK_KEYS", *, accept_plain: bool = False
    ) -> Self:
        """The keys in a variable of the environment, in the form of `from_text`."""
        text = os.environ.get(variable)
        if text is None:
            message = f"{variable} is not set. It is to hold {FORM}."
            raise ConfigurationError(message)
        return cls.from_text(text, accept_plain=accept_plain, source=variable)

    @classmethod
    def from_file(cls, path: str | os.PathLike[str], *, accept_plain: bool = False) -> Self:
        """The keys in a file, in the form of `from_text`.

        A file that others than its owner may read or write is refused (not on Windows, where that
        is not to be seen so simply).
        """
        text = _read(os.fspath(path))
        return cls.from_text(text, accept_plain=accept_plain, source=f"The file {path}")

    # The ring.

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the keys, in the order in which they came."""
        return tuple(self._ring)

    @property
    def current(self) -> str:
        """The name of the key that is encrypted with."""
        return self._current.name

    def add(self, name: str, key: bytes | str) -> None:
        """Have one more key to read with. The same once more is no change."""
        added = _key(name, key, "The key")
        known = self._ring.get(name)
        if known is not None and not known.same(added):
            message = f"There is another key named {name!r}. Give the new one a name of its own."
            raise ConfigurationError(message)
        self._ring.setdefault(name, added)

    def use(self, name: str) -> None:
        """Encrypt with this key from now on."""
        self._current = self._of(name)

    def remove(self, name: str) -> None:
        """Forget a key. What is encrypted with it cannot be read then (`KeyMissing`)."""
        if self._of(name) is self._current:
            message = f"The key {name!r} is the current one. Use another before it is removed."
            raise ConfigurationError(message)
        del self._ring[name]

    # Records.

    def seal(self, record: Record) -> Record:
        """The record with its state, which is plain JSON, encrypted with the current key.

        Raises `ConfigurationError` for one that is encrypted already: to open it comes first.
        """
        if record.format == FORMAT_SEALED:
            message = f"The state of session {record.id!r} is encrypted already."
            raise ConfigurationError(message)
        envelope = self._current.seal(record)
        return msgspec.structs.replace(record, format=FORMAT_SEALED, state=envelope.encode())

    def open(self, record: Record, *, session_id: str | None = None) -> bytes:
        """The state of a record as plain JSON.

        `session_id`: the id under which it was encrypted, where that is not the record's, as of one
        that was kept aside. Raises `KeyMissing`, `WrongKey`, `SessionTampered` and
        `SessionNotEncrypted`.
        """
        if record.format != FORMAT_SEALED:
            if self.accept_plain:
                return record.state
            raise _not_encrypted(record)
        if session_id is not None:
            record = msgspec.structs.replace(record, id=session_id)
        envelope = Envelope.decode(record.state)
        if envelope is None:
            raise _changed(record)
        if envelope.session != record.id:
            raise _moved(record, envelope)
        key = self._ring.get(envelope.key)
        if key is None:
            raise self._missing(record, envelope)
        if key.check != envelope.key_check:
            raise _wrong(record, envelope)
        state = key.open(envelope, record)
        if state is None:
            raise _changed(record)
        return state

    def is_current(self, record: Record) -> bool:
        """Whether the record is encrypted with the current key, as far as it says itself."""
        envelope = Envelope.decode(record.state) if record.format == FORMAT_SEALED else None
        current = self._current
        return envelope is not None and (envelope.key, envelope.key_check) == (
            current.name,
            current.check,
        )

    def _of(self, name: str) -> Key:
        key = self._ring.get(name)
        if key is None:
            message = f"There is no such key among {self._named()}."
            raise ConfigurationError(message)
        return key

    def _named(self) -> str:
        return ", ".join(map(repr, self._ring))

    def _missing(self, record: Record, envelope: Envelope) -> KeyMissing:
        message = (
            f"The state of session {record.id!r} is encrypted with the key {envelope.key!r}, and "
            f"there are only {self._named()}. It is left as it is: add that key."
        )
        return KeyMissing(message, key=envelope.key, session_id=record.id)

    def __repr__(self) -> str:
        return f"<Keys {self._named()}, current {self.current!r}>"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        message = "Keys are not pickled or copied: make them where they are used."
        raise ConfigurationError(message)


# What a state can be other than what it should. No message holds any of it.


def _not_encrypted(record: Record) -> SessionNotEncrypted:
    message = (
        f"The state of session {record.id!r} is not encrypted, and this bot's are. It is left as "
        f"it is. If the store has sessions from before there were keys, give Keys "
        f"accept_plain=True until all of them are written anew."
    )
    return SessionNotEncrypted(message, session_id=record.id)


def _changed(record: Record) -> SessionTampered:
    message = (
        f"The encrypted state of session {record.id!r}, or the version or the key's name beside "
        f"it, was changed since it was written. It is left as it is: restore it from a copy."
    )
    return SessionTampered(message, session_id=record.id)


def _moved(record: Record, envelope: Envelope) -> SessionTampered:
    message = (
        f"The encrypted state of session {record.id!r} is one of session {envelope.session!r}, and "
        f"was moved here. It is left as it is: restore the right one from a copy."
    )
    return SessionTampered(message, session_id=record.id)


def _wrong(record: Record, envelope: Envelope) -> WrongKey:
    message = (
        f"The state of session {record.id!r} is encrypted with a key named {envelope.key!r}, and "
        f"the one of that name here is another. It is left as it is: give the right one that name."
    )
    return WrongKey(message, key=envelope.key, session_id=record.id)


# Keys as somebody gives them. A key may stand where a name should, and so neither is shown.


def _key(name: str, key: bytes | str, where: str) -> Key:
    if not isinstance(name, str) or NAME.fullmatch(name) is None:
        message = f"{where} has no name of 1 to 64 letters, digits, '_', '.' or '-'."
        raise ConfigurationError(message)
    secret = _secret(key)
    if secret is None:
        message = f"{where} is not 32 bytes, or their base64. Keys.generate() makes such a key."
        raise ConfigurationError(message)
    return Key(name, secret)


def _secret(key: bytes | str) -> bytes | None:
    """The bytes of a key; None if they are not so many, or so it is no key."""
    if isinstance(key, str):
        try:
            key = base64.b64decode(key, validate=True)
        except ValueError:
            return None
    return bytes(key) if isinstance(key, bytes) and len(key) == KEY_BYTES else None


def _entries(text: str) -> list[str]:
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    return [entry for line in lines for entry in line.split(",") if entry.strip()]


def _read(path: str) -> str:
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - what is looked at is what is read
            mode = os.fstat(file.fileno()).st_mode
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        message = f"The file of keys {path} cannot be read: {error.strerror}."
        raise ConfigurationError(message) from error
    if os.name != "nt" and mode & OTHERS:
        message = (
            f"The file of keys {path} may be read or written by others than its owner. Make it "
            f"its owner's alone: chmod 600 {path}"
        )
        raise ConfigurationError(message)
    if len(data) > MAX_BYTES or not data.isascii():
        message = f"The file {path} is no file of keys. It is to hold {FORM}."
        raise ConfigurationError(message)
    return data.decode()
