# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The workflows that run every night: each has one more way for things to go wrong."""

from __future__ import annotations

import sys
from datetime import datetime, timedelta
from pathlib import Path
from textwrap import dedent

from loading import LOAD, SCRIPT

# workflow → its file; jobs are read back from Redis.
FILES = {
    # Two loaders, the second takes what the first hands over; retried within the batch.
    "extract": """
        jobs:
          load: {bundle: loader}
          publish: {bundle: loader, input: previous, reprocess_hours: 0}
    """,
    # Waits for a new success of another workflow; no retry, so what is killed fails the batch.
    "orders": """
        wait_for: {workflow: extract, scope: since_last_run, timeout: 150s}
        jobs:
          load: {bundle: loader, retries: 0}
    """,
    # Slow; two runs at a time, the second waits until the first has closed its batch. Reaches back a little.
    "slow": """
        max_active_runs: 2
        if_open: wait
        jobs:
          load: {bundle: loader, reprocess_hours: 0.002, env: {BEFORE: "[2, 6]"}}
    """,
    # Two runs at a time, the second is refused; its window is in the next one.
    "refused": """
        max_active_runs: 2
        if_open: fail
        jobs:
          load: {bundle: loader, retries: 1}
    """,
    # Two runs at a time, the second takes the batch over: its script must delete what it loads and no more.
    "taken": """
        max_active_runs: 2
        if_open: take_over
        jobs:
          load: {bundle: loader, retries: 1, env: {DELETE: window}}
    """,
    # Long windows come in pieces: each piece that has loaded starts the run of the next.
    "sliced": """
        window: {max: 45s}
        jobs:
          load: {bundle: loader, retries: 1}
    """,
    # A chain: each takes no more than what the one before it has loaded.
    "refined": """
        window: {until: {workflows: [extract]}}
        jobs:
          load: {bundle: loader, retries: 0}
    """,
    "reported": """
        window: {until: {workflows: [refined]}}
        jobs:
          load: {bundle: loader, retries: 1}
    """,
    # Started by another's success.
    "after": """
        schedule: {after: [extract]}
        jobs:
          load: {bundle: loader}
    """,
}
PIECE = timedelta(seconds=45)
"""The longest window of `sliced`."""
CHAIN = {"refined": "extract", "reported": "refined"}
"""Workflow → the one whose data it takes."""
TRIGGERED = [name for name, text in FILES.items() if "schedule:" not in text]

DEFAULTS = """
    initial_date: {begin}
    paused: false
    defaults:
      retries: 3
      retry_delay: 1s
      timeout: 5m
      env: {{PYTHON: {python}, TABLES: {tables}}}
"""


def write(cfg: Path, tables: Path, begin: datetime) -> None:
    """Write all files of all workflows."""
    bundle = cfg / "bundles" / "loader"
    bundle.mkdir(parents=True)
    (bundle / "script.sh").write_text(SCRIPT)
    (bundle / "load.py").write_text(LOAD)
    defaults = DEFAULTS.format(begin=begin.isoformat(), python=sys.executable, tables=tables)
    (cfg / "_defaults.yaml").write_text(dedent(defaults))
    for name, text in FILES.items():
        (cfg / f"{name}.yaml").write_text(dedent(text))
