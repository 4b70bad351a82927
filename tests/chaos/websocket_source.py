"""The server that is killed and frozen: it numbers what it sends and tells of it.

Run as a program with a port, its own name and a seed. Each line on stdout is one fact:
`port N`, `send FIRST LAST` before these numbers are sent, `heard FIRST LAST` when the
client has answered a ping that was sent after them on the same connection, and `reset`,
`flood`, `close` or `cut` for what it did to the client.
"""

from __future__ import annotations

import json
import os
import random
import socket
import struct
import sys
import threading
from contextlib import suppress

from websockets.exceptions import ConnectionClosed
from websockets.sync.server import ServerConnection, serve

FLOOD = 3_000  # messages without a pause
REPEATED = 5  # messages of the last connection that are sent again
PATIENCE = 10  # seconds for an answer to a ping; who needs longer is left


def tell(*words: object) -> None:
    """Write one line at once, so that a kill cannot take it back."""
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


class Source:
    """Sends numbered messages to whoever connects.

    Args:
        name: makes the numbers of this process its own.
        chance: draws what happens.
    """

    def __init__(self, name: str, chance: random.Random) -> None:
        self._name = name
        self._chance = chance
        self._lock = threading.Lock()
        self._next = 0
        self._pace = threading.Event()  # never set: it only lets some time pass

    def serve(self, connection: ServerConnection) -> None:
        """Send until the connection ends, and end it now and then."""
        with suppress(ConnectionClosed, OSError):
            self._send(connection, range(max(0, self._next - REPEATED), self._next))
            while self._round(connection):
                self._pace.wait(self._chance.uniform(0, 0.05))

    def _round(self, connection: ServerConnection) -> bool:
        """Send some messages; return whether the client has heard them all."""
        flood = self._chance.random() < 0.01
        if flood:
            tell("flood")
        numbers = self._numbers(FLOOD if flood else self._chance.randint(1, 40))
        tell("send", numbers[0], numbers[-1])
        self._send(connection, numbers)
        if self._chance.random() < 0.02:
            self._end(connection)
            return False
        if not connection.ping().wait(PATIENCE):
            return False
        tell("heard", numbers[0], numbers[-1])
        return True

    def _numbers(self, count: int) -> range:
        with self._lock:
            first = self._next
            self._next += count
            return range(first, first + count)

    def _send(self, connection: ServerConnection, numbers: range) -> None:
        for number in numbers:
            connection.send(json.dumps({"id": f"{self._name}-{number}", "n": number}))

    def _end(self, connection: ServerConnection) -> None:
        how = self._chance.choice(["reset", "close", "cut"])
        tell(how)
        if how == "close":
            connection.close(self._chance.choice([1000, 1001, 1011]))
            return
        opened = connection.socket
        if how == "cut":  # within a frame
            opened.sendall(b"\x81\x7e\x01\x00half of it")
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        opened.close()


def main() -> None:
    port, name, seed = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    source = Source(name, random.Random(seed))
    with serve(
        source.serve, "127.0.0.1", port, ping_interval=None, compression=None
    ) as server:
        tell("port", server.socket.getsockname()[1])
        server.serve_forever()


if __name__ == "__main__":
    main()
