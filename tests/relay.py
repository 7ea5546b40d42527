"""A relay between a client and a server that keeps count of what goes over the wire.

It has a thread to itself, so that it takes no step of the event loop that is looked at.
"""

from __future__ import annotations

import selectors
import socket
from contextlib import contextmanager, suppress
from threading import Thread
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Relay", "relayed"]

MOST = 1 << 20  # bytes read at once


class Relay:
    """Hands on what either side says, at `port` of this machine.

    - `asked`: what was said to the server since it was last cleared, of each connection.
    - `answered`: how many bytes the server has said.
    - `trips`: how often a client spoke on a connection, be it at first or after an answer.
    """

    def __init__(self, host: str, port: int) -> None:
        self._server = host, port
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._stopping, self._stop = socket.socketpair()
        self._waiting = selectors.DefaultSelector()
        self._others: dict[socket.socket, socket.socket] = {}
        self._spoke_last: set[socket.socket] = set()
        self._thread = Thread(target=self._serve, name="relay", daemon=True)
        self.port: int = self._listening.getsockname()[1]
        self.asked: dict[socket.socket, bytearray] = {}
        self.answered = 0
        self.trips = 0

    def clear(self) -> None:
        """Begin to count anew, while nothing is on its way."""
        for said in self.asked.values():
            said.clear()
        self.answered = self.trips = 0

    def start(self) -> None:
        self._waiting.register(self._listening, selectors.EVENT_READ)
        self._waiting.register(self._stopping, selectors.EVENT_READ)
        self._thread.start()

    def stop(self) -> None:
        """End it, and every connection."""
        self._stop.close()
        self._thread.join()
        self._waiting.close()
        for each in (*self._others, self._listening, self._stopping):
            each.close()

    def _serve(self) -> None:
        while True:
            for key, _ in self._waiting.select():
                if key.fileobj is self._stopping:
                    return
                if key.fileobj is self._listening:
                    self._connect()
                elif isinstance(key.fileobj, socket.socket):
                    self._hand_on(key.fileobj)

    def _connect(self) -> None:
        client, _ = self._listening.accept()
        server = socket.create_connection(self._server)
        self._others |= {client: server, server: client}
        self.asked[client] = bytearray()
        for each in (client, server):
            each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._waiting.register(each, selectors.EVENT_READ)

    def _hand_on(self, speaker: socket.socket) -> None:
        listener = self._others.get(speaker)
        if listener is None:
            return  # the other end of it has ended in the same moment
        try:
            said = speaker.recv(MOST)
        except OSError:
            said = b""
        if not said:
            for each in (speaker, listener):
                self._waiting.unregister(each)
                del self._others[each]
                each.close()
            return
        if speaker in self.asked:
            self.asked[speaker] += said
            self.trips += speaker not in self._spoke_last
        else:
            self.answered += len(said)
        self._spoke_last.add(speaker)
        self._spoke_last.discard(listener)
        with suppress(OSError):  # it listens no more
            listener.sendall(said)


@contextmanager
def relayed(url: str) -> Iterator[tuple[str, Relay]]:
    """A relay to the server of a URL, and the URL by which it is reached that way."""
    server = urlsplit(url)
    assert server.hostname is not None
    assert server.port is not None
    relay = Relay(server.hostname, server.port)
    relay.start()
    try:
        yield url.replace(f":{server.port}", f":{relay.port}", 1), relay
    finally:
        relay.stop()
