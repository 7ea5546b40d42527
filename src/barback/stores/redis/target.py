"""Target: where a Redis or Valkey store was told to find its servers.

A URL, a port or a ready client; single servers, Sentinels or a Cluster. It opens connections with
redis-py, which does TLS, authentication and the choice of the database.
"""

from __future__ import annotations

import asyncio
import inspect
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote, urlsplit

from barback.errors import ConfigurationError
from barback.extras import needs_extra
from barback.stores.url import may_hold_password

with needs_extra("redis"):
    from redis.asyncio.connection import Connection, SSLConnection, parse_url

if TYPE_CHECKING:
    from collections.abc import Callable

    Address = tuple[str, int]

__all__ = ["Target"]

SENTINEL_PORT: Final = 26379

OPTIONS: Final = frozenset({"db", "username", "password", "client_name", "socket_keepalive"})
"""What of redis-py's own options a URL may set, beside `ssl_…`."""

UNREADABLE = (
    "its URL cannot be read; special characters in a password are written %23 for #, %2F for /, "
    "%3F for ?, %40 for @"
)
NOT_TAKEN: Final = frozenset(
    {"protocol", "decode_responses", "retry", "retry_on_error", "retry_on_timeout"}
    | {"health_check_interval", "socket_timeout", "socket_connect_timeout"}
    | {"max_connections", "response_callbacks"}
)
"""A ready client's settings that concern its own use of a connection."""


class Target:
    """Where the servers are, and with what settings to connect to them."""

    def __init__(self, target: Any, settings: dict[str, Any], connect_timeout: float) -> None:
        self.kind = "server"
        self.connect_timeout = connect_timeout
        self.addresses: list[Address] = []
        self.service = ""
        self.sentinel_settings: dict[str, Any] = {}
        self.remap: Callable[[Address], Address] | None = None
        self.connection_class: Any = Connection
        self.settings: dict[str, Any] = {}
        if isinstance(target, bool):
            raise _cannot(f"a {type(target).__name__} is no target")
        if isinstance(target, int):
            self.settings = {"port": target}
        elif isinstance(target, str):
            self._read_url(target)
        else:
            self._take_client(target)
            if any(value is not None for value in settings.values()):
                raise _cannot("a ready client has its own settings")
        given = {name: value for name, value in settings.items() if value is not None}
        if self.addresses and not given.keys().isdisjoint({"host", "port"}):
            raise _cannot("the URL of a cluster or of Sentinels names the hosts")
        self.settings.update(given)
        port = self.settings.get("port", 6379)
        if not isinstance(port, int) or not 0 < port < 65536:  # noqa: PLR2004 - there are no more
            raise _cannot("a port is a whole number from 1 to 65535")
        self._check()

    @property
    def where(self) -> str:
        """How errors call it; it has no password."""
        if self.addresses:
            hosts = ", ".join(f"{host}:{port}" for host, port in self.addresses)
            return f"{self.service} by {hosts}" if self.kind == "sentinel" else hosts
        if "path" in self.settings:
            return str(self.settings["path"])
        return f"{self.settings.get('host', 'localhost')}:{self.settings.get('port', 6379)}"

    async def connect_to_primary(self) -> Any:
        """A connection to the one server there is, or to the one the Sentinels name."""
        return await (self._by_sentinels() if self.kind == "sentinel" else self.connect())

    async def connect(self, host: str | None = None, port: int | None = None) -> Any:
        """A connection of redis-py's, set up as a `Wire` needs it."""
        at = {} if host is None else {"host": host, "port": port}
        connection = self._made(self.settings | at)
        await _connected(connection)
        return connection

    async def _by_sentinels(self) -> Any:
        """A connection to what the Sentinels call the primary, if it says so itself."""
        failed: Exception = ConnectionError("The Sentinels name no primary, or one that is none.")
        for address in list(self.addresses):
            try:
                async with asyncio.timeout(self.connect_timeout / (len(self.addresses) + 1)):
                    primary = await self._ask_sentinel(address)
                    if primary is None:
                        continue
                    connection = await self.connect(*primary)
                    if await _is_primary(connection):
                        self.addresses.remove(address)  # first the next time
                        self.addresses.insert(0, address)
                        return connection
            except Exception as error:  # noqa: BLE001 - the next Sentinel is asked
                failed = error
        raise failed

    async def _ask_sentinel(self, address: Address) -> Address | None:
        host, port = address
        connection = self._made(self.sentinel_settings | {"host": host, "port": port})
        await _connected(connection)
        try:
            await connection.send_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self.service)
            reply = await connection.read_response()
        finally:
            await connection.disconnect(nowait=True)
        return None if reply is None else (reply[0].decode(), int(reply[1]))

    def _made(self, settings: dict[str, Any]) -> Any:
        return self.connection_class(
            **settings,
            # A `Wire` matches replies by their order, and decides itself what is sent again.
            protocol=2,
            retry_on_error=[],
            health_check_interval=0,
            socket_timeout=None,  # a `Link` limits the whole of it
            socket_connect_timeout=self.connect_timeout,
        )

    def _read_url(self, url: str) -> None:
        scheme, separator, rest = url.partition("://")
        family, _, kind = scheme.lower().replace("valkey", "redis").partition("+")
        if not separator:
            raise _cannot("its URL has no kind: write redis://host:6379, or give the port alone")
        if family == "unix" or (family, kind) == ("redis", "unix"):
            family, kind = "unix", ""
            if not rest.partition("?")[0].rpartition("@")[2].startswith("/"):
                raise _cannot("a socket's URL has three slashes: unix:///run/redis.sock")
        elif family not in {"redis", "rediss"} or kind not in {"", "cluster", "sentinel"}:
            raise _cannot(f"it has no URLs of the kind {scheme!r}")
        path = "" if family == "unix" else self._read_address(kind, rest)
        query = rest.partition("?")[2]
        if kind:  # its hosts are read; the rest is as in the URL of one server
            user, at, _ = rest.partition("/")[0].partition("?")[0].rpartition("@")
            rest = f"{user}{at}localhost{path}?{query}"
        try:
            settings: dict[str, Any] = dict(parse_url(f"{family}://{rest}"))
        except ValueError:  # its words may hold a part of the password
            raise _cannot(UNREADABLE) from None
        self.connection_class = settings.pop("connection_class", Connection)
        if kind:
            self.kind = kind
            del settings["host"]
        self._take_options(settings, tell=not may_hold_password(query))

    def _take_options(self, settings: dict[str, Any], *, tell: bool) -> None:
        """Share what a URL says between the servers and the Sentinels; refuse what is neither's."""
        secured = self.connection_class is SSLConnection
        for name, value in settings.items():
            if name in {"sentinel_username", "sentinel_password"} and self.kind == "sentinel":
                self.sentinel_settings[name.removeprefix("sentinel_")] = value
                continue
            if secured and name.startswith("ssl_"):
                self.sentinel_settings[name] = value
            elif name not in OPTIONS and name not in {"host", "port", "path"}:
                shown = name if tell and name.isidentifier() else "of that name"
                raise _cannot(f"its URL has no option {shown}")
            self.settings[name] = value

    def _read_address(self, kind: str, rest: str) -> str:
        """Take the hosts, and the service, out of a URL; what is left of its path is returned."""
        # By hand: Python's own parser takes no list of hosts that has an IPv6 address in it.
        authority, ends = _partition_at(rest, "/?#")
        hosts = authority.rpartition("@")[2].split(",")
        try:
            if kind:
                port = SENTINEL_PORT if kind == "sentinel" else 6379
                self.addresses = [_address(host, port) for host in hosts]
        except ValueError:
            raise _cannot(UNREADABLE) from None
        path, ends = _partition_at(ends, "?#")
        path = path.removeprefix("/")
        if kind == "sentinel":
            service, _, path = path.partition("/")
            self.service = unquote(service)
            if not self.service:
                raise _cannot("a Sentinel URL names its service: redis+sentinel://host/service")
            if "@" in service:  # a user or a password with a slash in it
                raise _cannot(UNREADABLE)
        if "#" in ends or (path and not path.isdecimal()):
            raise _cannot(UNREADABLE)
        return f"/{path}" if path else ""

    def _take_client(self, client: Any) -> None:
        """A ready client's settings: the store opens connections of its own with them."""
        if hasattr(client, "nodes_manager"):
            self.kind = "cluster"
            nodes = client.nodes_manager.startup_nodes.values()
            self.addresses = [(node.host, int(node.port)) for node in nodes]
            self.remap = getattr(client.nodes_manager, "address_remap", None)
            settings = dict(client.connection_kwargs)
            self.connection_class = settings.pop("connection_class", Connection)
        elif hasattr(client, "connection_pool"):
            settings = dict(client.connection_pool.connection_kwargs)
            self.connection_class = client.connection_pool.connection_class
        else:
            raise _cannot(f"a {type(client).__name__} is no client of redis.asyncio")
        if not inspect.iscoroutinefunction(self.connection_class.connect):
            raise _cannot(f"{type(client).__name__} is a blocking client: use redis.asyncio's")
        self.settings = {
            name: value
            for name, value in settings.items()
            if name not in NOT_TAKEN and "maint" not in name and not name.startswith("orig_")
        }

    def _check(self) -> None:
        """Refuse settings that no connection could be made of, before one is needed."""
        try:
            if self.kind == "sentinel":
                self._made(self.sentinel_settings)
            self._made(self.settings)
        except Exception as error:
            raise _cannot("its settings are refused by redis-py") from error


async def _connected(connection: Any) -> None:
    try:
        await connection.connect()
    except BaseException:
        await connection.disconnect(nowait=True)
        raise


async def _is_primary(connection: Any) -> bool:
    try:
        await connection.send_command("ROLE")
        if (await connection.read_response())[0] == b"master":
            return True
    except BaseException:
        await connection.disconnect(nowait=True)
        raise
    await connection.disconnect(nowait=True)
    return False


def _partition_at(text: str, signs: str) -> tuple[str, str]:
    """The text before the first of some signs, and the rest, which begins with it."""
    end = min((at for at in map(text.find, signs) if at >= 0), default=len(text))
    return text[:end], text[end:]


def _address(text: str, port: int) -> Address:
    """`host`, `host:port` or `[v6]:port`."""
    parts = urlsplit(f"//{text}")
    if not parts.hostname:
        raise ValueError
    return parts.hostname, parts.port or port


def _cannot(why: str) -> ConfigurationError:
    return ConfigurationError(f"A redis store cannot be made: {why}.")
