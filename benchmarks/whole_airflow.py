# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""
What a whole Airflow of the tests costs: its start, a minute in which it does nothing, and its end.

Starts a separate Airflow (Valkey, PostgreSQL, all components, LocalExecutor) with the example workflows, and counts the
processor seconds of each program with everything that it starts. Beside the start stands what `import airflow` alone
takes in one program: no start can be cheaper.

Usage: python benchmarks/whole_airflow.py [--minutes N] [--rounds N]
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from batchy_provider.local import guard
from batchy_provider.local.stack import LocalStack

ROOT = Path(__file__).parents[1]
PROGRAMS = ("valkey", "postgres", "api-server", "scheduler", "triggerer", "dag-processor")
TICKS = os.sysconf("SC_CLK_TCK")


def ended() -> float:
    """Seconds of the programs that this one has started and that have ended, and of this one."""
    used = [resource.getrusage(whose) for whose in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def running(stack: LocalStack) -> dict[str, float]:
    """Seconds of each program that runs, with its children, also those that have ended."""
    return {
        name: sum(seconds(process.pid) for process in guard.family([guard.identify(stack.service(name).pid)]))
        for name in PROGRAMS
    }


def seconds(pid: int) -> float:
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0.0
    return sum(int(field) for field in text.rpartition(")")[2].split()[11:15]) / TICKS


def imports() -> float:
    """Seconds of the smallest program that imports Airflow."""
    with tempfile.TemporaryDirectory() as home:
        before = ended()
        env = {**os.environ, "AIRFLOW_HOME": home}
        subprocess.run([sys.executable, "-c", "import airflow"], env=env, check=True, capture_output=True)
        return ended() - before


def measure(minutes: float, *, in_order: bool) -> dict[str, float]:
    """Start an Airflow, let it do nothing, and stop it; return the seconds by what they were for."""
    folder = Path(tempfile.mkdtemp(prefix="whole-airflow-"))
    for name in ("cfg", "dags"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    stack = LocalStack(folder / "home", dags=folder / "dags", cfg=folder / "cfg")
    found = {}
    try:
        before = ended()
        stack.start()
        found["start: database"] = ended() - before
        started = running(stack)
        found |= named("start", started)
        time.sleep(30)  # the first parse and the first heartbeats belong to neither
        idle = running(stack)
        time.sleep(60 * minutes)
        later = running(stack)
        found |= named("idle minute", {name: (later[name] - idle[name]) / minutes for name in later})
        before = ended() + sum(running(stack).values())
        if in_order:
            stack.stop()
        stack.discard()
        found["end in order" if in_order else "end, killed"] = ended() - before
    finally:
        stack.discard()
        shutil.rmtree(folder, ignore_errors=True)
    return found


def named(phase: str, programs: Mapping[str, float]) -> dict[str, float]:
    return {**{f"{phase}: {name}": value for name, value in programs.items()}, f"{phase}: all": sum(programs.values())}


def main() -> None:
    parser = argparse.ArgumentParser(description="what a whole Airflow of the tests costs")
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--rounds", type=int, default=2)
    asked = parser.parse_args()
    least: dict[str, float] = {}
    for _ in range(asked.rounds):
        for in_order in (True, False):
            for name, value in {"import airflow": imports(), **measure(asked.minutes, in_order=in_order)}.items():
                least[name] = min(value, least.get(name, value))
    least["start: all"] += least["start: database"]
    for name, value in least.items():
        print(f"{value:7.2f} s  {name}")


if __name__ == "__main__":
    main()
