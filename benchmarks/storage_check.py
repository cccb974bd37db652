# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""
What it costs a parse that each DAG is serialized before Airflow gets it, as a ratio to the same parse without that.

Each parse is a separate process, as in Airflow's DAG processor. The list of DAGs that passed stays between parses.

Usage: python benchmarks/storage_check.py [--workflows N] [--parses N]
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

PARSE = """
import sys, time
import airflow.sdk
from batchy_provider.config.reader import read_folder
from batchy_provider.dag_factory import loader
begun = time.process_time()
if sys.argv[2] == "checked":
    dags = loader.build_dags(sys.argv[1])[0]
else:
    with loader._collector_paused():
        dags = [loader.build_workflow(each)[0] for each in read_folder(sys.argv[1]).workflows.values()]
print(time.process_time() - begun)
"""


def parse(cfg: Path, kind: str) -> float:
    """Return the processor seconds of one parse."""
    environment = {**os.environ, "TMPDIR": str(cfg.parent), "AIRFLOW_HOME": str(cfg.parent / "airflow")}
    command = [sys.executable, "-c", PARSE, str(cfg), kind]
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    return float(done.stdout.split()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workflows", type=int, default=1000)
    parser.add_argument("--parses", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="batchy-benchmark-") as folder:
        cfg = Path(folder, "cfg")
        cfg.mkdir()
        jobs = "".join(f"  job_{number}: {{bash: 'echo {number}'}}\n" for number in range(5))
        for number in range(arguments.workflows):
            (cfg / f"wf{number}.yaml").write_text(f'schedule: "0 3 * * *"\nstart_date: 2026-01-01\njobs:\n{jobs}')
        plain = min(parse(cfg, "plain") for _ in range(2))
        print(f"{arguments.workflows:,} workflows of five jobs, without the check: {plain:.1f} s of processor time")
        for number in range(arguments.parses):
            checked = parse(cfg, "checked")
            print(f"  parse {number + 1} with it: {checked:.1f} s, {checked / plain:.2f} times")


if __name__ == "__main__":
    main()
