# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""What Airflow's DAG processor costs for many workflows, beside the same DAGs written by hand in a loop.

A real ``airflow dag-processor`` on PostgreSQL, each way with a database of its own, in turns. A loop is one parse of
each file: of ``batchy_dags.py`` and ``batchy_errors.py``, or of the one file by hand. Its time is the processor time of
the DAG processor and of the processes that it forks, from one parse of the first file to the next; without PostgreSQL.
The first loop of a turn does not count: it stores the DAGs, or fills caches.

Workflows and tasks are those of ``dag_parse.py``. Linux only, since it reads ``/proc``.

Usage: python benchmarks/dag_processor.py [--workflows N] [--rounds N] [--loops N]
"""

from __future__ import annotations

import argparse
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import dag_parse

from batchy_provider.local.postgres import Postgres, remove_database
from batchy_provider.local.settings import clean_environment

OURS, BY_HAND = "ours", "by hand"
GOAL = 1.05
MARK = """
import os
from pathlib import Path

# Airflow's DAG processor: its own user and system time, and those of the processes that it has waited for.
seconds = sum(map(int, Path(f"/proc/{os.getppid()}/stat").read_text().rpartition(")")[2].split()[11:15]))
with open(MARKS, "a") as file:
    file.write(f"{seconds / os.sysconf('SC_CLK_TCK')}\\n")
"""
DAGS = """
from batchy_provider.dag_factory import cfg_folder, load_dags

load_dags(cfg_folder(__file__), globals())
"""
ERRORS = """
from batchy_provider.dag_factory import cfg_folder, raise_config_errors

raise_config_errors(cfg_folder(__file__))  # Airflow finds no DAG here
"""
HAND = """
import sys

sys.path.insert(0, BENCHMARKS)
from dag_parse import dags_by_hand  # of airflow

globals().update(dags_by_hand(COUNT))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--workflows", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--loops", type=int, default=2, help="loops that count in each turn")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="batchy-processor-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        write(folder, options.workflows)
        with postgres(folder) as server:
            environments = {way: prepare(folder, server, way) for way in (OURS, BY_HAND)}
            found: dict[str, list[float]] = {OURS: [], BY_HAND: []}
            for number in range(options.rounds):
                for way, environment in environments.items():
                    found[way] += turn(folder, way, environment, options.loops)
                    print(f"round {number + 1}, {way}: {found[way][-1]:.2f} s for a loop", flush=True)
    show(options.workflows, found)


def write(folder: Path, count: int) -> None:
    """Write the files of both ways."""
    (folder / "cfg").mkdir()
    for number in range(count):
        text = dag_parse.WORKFLOW.format(number=number, minute=number % 60)
        (folder / "cfg" / f"{dag_parse.NAME.format(number)}.yaml").write_text(text)
    by_hand = HAND.replace("BENCHMARKS", repr(str(Path(__file__).parent))).replace("COUNT", str(count))
    for way, files in {OURS: {"dags": DAGS, "errors": ERRORS}, BY_HAND: {"dags": by_hand}}.items():
        home = folder / way.replace(" ", "_")
        (home / "dags").mkdir(parents=True)
        for stem, text in files.items():
            mark = MARK.replace("MARKS", repr(str(home / "marks"))) if stem == "dags" else ""
            (home / "dags" / f"batchy_{stem}.py").write_text(mark + text)


@contextmanager
def postgres(folder: Path) -> Iterator[Postgres]:
    """Run PostgreSQL in a folder."""
    server = Postgres(folder / "postgres", env=clean_environment())
    server.initialize()
    service = server.service()
    service.start()
    try:
        service.wait_until(server.ready, timeout=120)
        yield server
    finally:
        service.stop()
        remove_database(folder)


def prepare(folder: Path, server: Postgres, way: str) -> Mapping[str, str]:
    """Make the database of one way, and return the environment of its Airflow."""
    import psycopg2

    home = folder / way.replace(" ", "_")
    connection = psycopg2.connect(server.url.replace("+psycopg2", ""))
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE DATABASE {home.name}")
    connection.close()
    base, _, query = server.url.partition("?")
    options = {
        "DATABASE__SQL_ALCHEMY_CONN": f"{base.rpartition('/')[0]}/{home.name}{query and '?' + query}",
        "CORE__DAGS_FOLDER": str(home / "dags"),
        "CORE__LOAD_EXAMPLES": "False",
        "CORE__MIN_SERIALIZED_DAG_UPDATE_INTERVAL": "0",
        "CORE__DAGBAG_IMPORT_TIMEOUT": "600",
        # One process, and no pause: each loop parses each file once.
        "DAG_PROCESSOR__PARSING_PROCESSES": "1",
        "DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "0",
        "DAG_PROCESSOR__DAG_FILE_PROCESSOR_TIMEOUT": "1200",
        "LOGGING__LOGGING_LEVEL": "ERROR",
        "BATCHY__CFG_FOLDER": str(folder / "cfg"),
    }
    environment = {
        **clean_environment(),
        "AIRFLOW_HOME": str(home),
        "TMPDIR": str(home),
        **{f"AIRFLOW__{name}": value for name, value in options.items()},
    }
    command = [sys.executable, "-m", "airflow", "db", "migrate"]
    subprocess.run(command, env=environment, check=True, capture_output=True)
    return environment


def turn(folder: Path, way: str, environment: Mapping[str, str], loops: int) -> list[float]:
    """Run the DAG processor of one way, and return the processor seconds of each of its loops but the first."""
    marks = folder / way.replace(" ", "_") / "marks"
    marks.unlink(missing_ok=True)
    command = [sys.executable, "-m", "airflow", "dag-processor"]
    with (folder / "processor.log").open("w") as log:
        program = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
    try:
        while len(seconds := read(marks)) < loops + 2:
            if program.poll() is not None:
                raise SystemExit(f"the DAG processor has ended:\n{(folder / 'processor.log').read_text()[-3000:]}")
            time.sleep(0.2)
    finally:
        if program.poll() is None:
            os.killpg(program.pid, signal.SIGTERM)
        program.wait()
    return [after - before for before, after in pairwise(seconds[1:])]


def read(marks: Path) -> list[float]:
    """Return the processor seconds at which each loop has begun."""
    return [float(line) for line in marks.read_text().splitlines()] if marks.exists() else []


def show(count: int, found: Mapping[str, list[float]]) -> None:
    """Print the times of both ways and their ratio."""
    print(f"\n{count:,} workflows of seven tasks: processor seconds of a loop")
    print(f"{'':10}{'median':>10}{'shortest':>10}")
    for way, seconds in found.items():
        print(f"{way:10}{statistics.median(seconds):10.2f}{min(seconds):10.2f}")
    median = statistics.median(found[OURS]) / statistics.median(found[BY_HAND])
    print(f"{'ratio':10}{median:10.2f}{min(found[OURS]) / min(found[BY_HAND]):10.2f}   goal: {GOAL}")


if __name__ == "__main__":
    main()
