# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""A network that fails at a byte: stands between a client and a real server, cuts there, or brings the rest late."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import threading
import time
from dataclasses import dataclass, field
from typing import Literal

Way = Literal["request", "reply"]
MINE = b"batchy"
"""In the name of the clients whose connections fail; a Sentinel's own connections do not."""

EVERY_BYTE = bool(os.environ.get("BATCHY_TEST_EVERY_BYTE"))
"""Cut at each byte and not around messages alone; takes half an hour."""


@dataclass(eq=False)
class Fault:
    """
    What happens once, to the first connection that comes that far.

    :param way: on the way to the server, or on the way back.
    :param at: how many bytes still arrive, counted from the moment at which the fault was set.
    :param how: ``cut`` ends the connection in both directions; ``hold`` keeps the rest back until `bring`.
    """

    way: Way
    at: int
    how: Literal["cut", "hold"] = "cut"
    met: threading.Event = field(default_factory=threading.Event)
    _go_on: threading.Event = field(default_factory=threading.Event)
    _brought: threading.Event = field(default_factory=threading.Event)

    def bring(self) -> None:
        """Let arrive what was held back, although nobody waits for it any more."""
        self._go_on.set()
        assert self._brought.wait(10)
        time.sleep(0.02)  # the server has read it by then, or reads it later: both have to be borne

    def held(self) -> None:
        """Wait in the place of the bytes."""
        self._go_on.wait(30)

    def was_brought(self) -> None:
        self._brought.set()


class FaultyProxy:
    """
    A port that leads to a server, as long as nothing is set to fail.

    :param server: port of the real server; may be set later.
    """

    def __init__(self, server: int = 0) -> None:
        self.server = server
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port: int = self._listener.getsockname()[1]
        self.seen: dict[Way, bytes] = {"request": b"", "reply": b""}
        """What went through since `watch`."""
        self.packets: dict[Way, list[int]] = {"request": [], "reply": []}
        """Where in it a packet began."""
        self._fault: Fault | None = None
        self._lock = threading.Lock()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def watch(self, fault: Fault | None = None) -> None:
        """Begin to count, and let one fault happen."""
        with self._lock:
            self.seen = {"request": b"", "reply": b""}
            self.packets = {"request": [], "reply": []}
            self._fault = fault

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                try:
                    server = socket.create_connection(("127.0.0.1", self.server))
                except OSError:
                    client.close()
                    continue
                server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                link = _Link(self, client, server)
                for way in ("request", "reply"):
                    threading.Thread(target=link.pump, args=(way,), daemon=True).start()

    def _next(self, way: Way, data: bytes) -> tuple[int, Fault | None]:
        """Note what arrives; returns how much of it does, and the fault that keeps the rest."""
        with self._lock:
            before = len(self.seen[way])
            self.packets[way].append(before)
            self.seen[way] += data
            fault = self._fault
            if fault is None or fault.way != way or before + len(data) < max(fault.at, 1):
                return len(data), None
            self._fault = None
            fault.met.set()
            return max(fault.at - before, 0), fault


class _Link:
    """One connection through the proxy."""

    def __init__(self, proxy: FaultyProxy, client: socket.socket, server: socket.socket) -> None:
        self._proxy = proxy
        self._ends = {"request": (client, server), "reply": (server, client)}
        self._mine = False

    def pump(self, way: Way) -> None:
        source, target = self._ends[way]
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 20):
                self._mine = self._mine or (way == "request" and MINE in data)
                arrive, fault = self._proxy._next(way, data) if self._mine else (len(data), None)
                target.sendall(data[:arrive])
                if fault is None:
                    continue
                if fault.how == "hold":
                    fault.held()
                    with contextlib.suppress(OSError):
                        target.sendall(data[arrive:])
                    fault.was_brought()
                break
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


def boundaries(way: Way, data: bytes) -> list[int]:
    """Return places at which a cut may differ: around where a command begins, and around lines of a reply."""
    if EVERY_BYTE:
        return list(range(len(data) + 1))
    if way == "request":
        starts = [match.start() for match in re.finditer(rb"\*\d+\r\n\$", data)]
    else:
        starts = [match.end() for match in re.finditer(rb"\r\n", data)][::6]
    return sorted({at + beside for at in (*starts, len(data)) for beside in (-1, 0)} & set(range(len(data) + 1)))
