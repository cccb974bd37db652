# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""What calendars cost a parse: workflows without calendars against an earlier version, and with calendars.

A workflow has two jobs. Each way runs in a fresh process, the ways in turns; the time is the processor time of
`load_dags`, from Airflow being imported to the DAGs being there and serialized once, as the DAG processor needs them.
Ratios are the median of those of each round.

- ``before``: workflows without calendars, by the package of another checkout.
- ``without``: the same by this package.
- ``with``: each workflow picks one of four calendars, by one of six rules; the import of the library included.

Run: ``python benchmarks/calendar_parse.py [--before CHECKOUT] [--count 1000] [--rounds 5]``.
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

CALENDARS = """\
target2: {holidays: ECB}
shop: {weekend: [sun], holidays: DE-BY, add: [2026-12-31]}
nyse: {holidays: NYSE}
branch: {extends: shop, holidays: ECB, remove: [2026-12-31]}
"""
RULES = (
    "on: business_days",
    "move: next",
    "move: previous",
    "on: {nth: 1}",
    "on: {nth: -2, of: quarter}",
    "on: holidays",
)
NAMES = ("target2", "shop", "nyse", "branch")
PLAIN = '"{minute} {hour} * * *"'
PICKED = '{{cron: "{minute} {hour} * * *", calendar: {calendar}, {rule}}}'
JOBS = """
timezone: Europe/Paris
start_date: 2026-01-01
jobs:
  extract: {bash: "echo 1"}
  load: {bash: "echo 2"}
"""
WAYS = ("before", "without", "with")


def write_files(folder: Path, count: int) -> None:
    """Write the files of both kinds."""
    for kind, form in (("without", PLAIN), ("with", PICKED)):
        (folder / kind).mkdir()
        for number in range(count):
            values = {"minute": number % 60, "hour": number // 60 % 24}
            rule, calendar = RULES[number % len(RULES)], NAMES[number % len(NAMES)]
            text = f"schedule: {form.format(**values, rule=rule, calendar=calendar)}{JOBS}"
            (folder / kind / f"workflow_{number}.yaml").write_text(text)
    (folder / "with" / "_calendars.yaml").write_text(CALENDARS)


def child(folder: Path, count: int) -> None:
    """Measure one parse in this process."""
    import sys as modules

    import airflow.sdk
    from airflow.providers.standard.operators.bash import BashOperator
    from airflow.sdk import DAG

    assert airflow.sdk
    assert BashOperator
    DAG("warm")
    from batchy_provider.dag_factory import load_dags

    start = time.process_time()
    found = len(load_dags(folder, {}))
    seconds = time.process_time() - start
    assert found == count, f"{found} DAGs of {count}"
    print("RESULT", json.dumps({"seconds": seconds, "library": "holidays" in modules.modules}))


def measure(way: str, folder: Path, count: int, before: Path | None) -> float:
    """Measure one way in a separate process; return seconds of processor time."""
    env = {**os.environ, "AIRFLOW_HOME": str(folder / "home"), "AIRFLOW__CORE__LOAD_EXAMPLES": "False"}
    env["AIRFLOW__LOGGING__LOGGING_LEVEL"] = "ERROR"
    env.pop("PYTHONDONTWRITEBYTECODE", None)
    if way == "before":
        env["PYTHONPATH"] = str(before)
    kind = "with" if way == "with" else "without"
    command = [sys.executable, __file__, "--child", str(folder / kind), "--count", str(count)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    line = next((line for line in done.stdout.splitlines() if line.startswith("RESULT")), None)
    if line is None:
        raise SystemExit(f"{way}: {done.stdout[-1000:]}{done.stderr[-3000:]}")
    result = json.loads(line.removeprefix("RESULT "))
    assert result["library"] == (way == "with"), f"{way}: the library holidays was imported: {result['library']}"
    return float(result["seconds"])


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--before", type=Path, help="a checkout of an earlier version")
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child is not None:
        child(arguments.child, arguments.count)
        return
    ways = [way for way in WAYS if way != "before" or arguments.before is not None]
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    with tempfile.TemporaryDirectory(prefix="batchy-calendars-") as scratch:
        folder = Path(scratch)
        write_files(folder, arguments.count)
        for way in ways:  # compile and warm up
            measure(way, folder, arguments.count, arguments.before)
        for _ in range(arguments.rounds):
            for way in ways:
                seconds[way].append(measure(way, folder, arguments.count, arguments.before))
    print(f"{arguments.count} workflows, {arguments.rounds} rounds\n\n| | seconds of processor time |\n|---|---:|")
    for way in ways:
        print(f"| {way} | {statistics.median(seconds[way]):.2f} |")
    for way, other in (("without", "before"), ("with", "without")):
        if other in seconds:
            ratio = statistics.median(a / b for a, b in zip(seconds[way], seconds[other], strict=True))
            print(f"| {way} ÷ {other} | {ratio:.2f} |")


if __name__ == "__main__":
    main()
