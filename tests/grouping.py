# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Which tests go to one process together, when several processes run them, and which Airflow they use."""

from __future__ import annotations

import os
from pathlib import Path

AIRFLOWS = "tests/integration"
"""Folder of the tests that use a whole Airflow."""
CHAOS = "tests/reliability/test_chaos_nights.py"
"""A file elsewhere that starts an Airflow of its own."""
OWN = ("test_many_workers.py", "test_deploy_scripts.py")
"""Files that start an Airflow of their own."""
STRUCK = (
    "test_killed_api_server.py",
    "test_page_outages.py",
    "test_seen_from_outside.py",
    "test_stopped_parts.py",
    "test_two_schedulers.py",
    "test_waits_and_watchers.py",
)
"""Files that kill parts of their Airflow, or count all that it does: nobody else may use it meanwhile."""
APART = ("test_edited_in_mid_run.py", "test_state_machine.py", "test_tutorial.py")
"""Files of few and long tests, which share nothing."""
AIRFLOWS_AT_ONCE = max(2, os.cpu_count() or 1)
"""How many processes test on a whole Airflow at the same time, as long as there are other tests for the rest."""
API_SERVER = "tests/unit/plugin"
"""Folder of the tests that share one of Airflow's API servers, which takes ten seconds to make."""
IN_PROCESS = (
    "tests/unit/dag_factory/test_schedules_by_batches.py",
    "tests/unit/dag_factory/test_seed_not_yet_implemented.py",
    "tests/unit/observability/test_lineage_and_traces.py",
    "tests/unit/operators/test_api_calls.py",
    "tests/unit/operators/test_failover_in_mid_run.py",
    "tests/unit/operators/test_in_airflow.py",
    "tests/unit/operators/test_warnings_in_airflow.py",
)
"""Files that run DAGs by `dag.test()`. Airflow's database and its execution API, which each process that does so makes
for itself, take ten seconds of a processor."""
EARLY = (
    "tests/integration/test_many_workers.py",
    *(f"{AIRFLOWS}/{name}" for name in STRUCK),
    CHAOS,
    "tests/integration/test_deploy_scripts.py",
    "tests/integration/test_tutorial.py",
    "tests/integration/test_sliced_outage.py",
    "tests/integration/test_page.py",
    "tests/integration/test_backfill_and_clear.py",
    "tests/integration/test_page_actions.py",
    "tests/integration/test_edited_in_mid_run.py",
    "tests/integration/test_failover_nights.py",
    "tests/integration/test_nights.py",
    "tests/integration/",
    "tests/reliability/",
    "tests/unit/plugin/",
    *IN_PROCESS,
    "tests/unit/test_site.py",
    "tests/unit/test_documentation.py",
    "tests/unit/triggers/test_waits_in_trouble.py",
    "tests/unit/services/test_multiplexer",
    "tests/unit/state/test_cluster_storm.py",
    "tests/unit/test_re",
    "tests/unit/dag_factory/test_isolated.py",
    "tests/unit/state/test_state_machine.py",
    "tests/unit/state/test_restored_nights.py",
    "tests/unit/state/test_lost_connections.py",
    "tests/unit/state/test_processes.py",
    "tests/unit/state/test_faulty_network.py",
    "tests/unit/cli/test_more_commands.py",
    "tests/unit/bundles/test_s3.py",
)
"""What takes long, longest first: begun last, it would keep one process busy while the others have nothing left."""


def rank(nodeid: str) -> int:
    """Return where a test belongs in the order of all, in which small groups come last."""
    return next((number for number, begin in enumerate(EARLY) if nodeid.startswith(begin)), len(EARLY))


def is_quick(nodeid: str) -> bool:
    """Tell whether a test belongs to a group that takes seconds only, and needs no Airflow."""
    return rank(nodeid) == len(EARLY)


def has_airflow(nodeid: str) -> bool:
    """Tell whether a test uses a whole Airflow."""
    return bool(airflow(nodeid)) or nodeid.startswith(CHAOS)


def airflow(nodeid: str) -> str:
    """Return which Airflow a test uses: ``own``, ``struck`` or ``shared``; empty if it uses none."""
    folder, _, name = nodeid.partition("::")[0].rpartition("/")
    if folder != AIRFLOWS:
        return ""
    if name in OWN:
        return "own"
    return "struck" if name in STRUCK else "shared"


def group(nodeid: str) -> str:
    """Return what a test belongs to.

    A file's tests stay together, so that its fixtures are made once. So do all tests that kill parts of one Airflow,
    all that share an API server, and all that run DAGs in their process.
    """
    file = nodeid.partition("::")[0]
    if Path(file).name in APART:
        return nodeid
    if airflow(nodeid) == "struck":
        return f"{AIRFLOWS}, struck"
    if file in IN_PROCESS:
        return "tests/unit, dag.test()"
    return API_SERVER if file.startswith(f"{API_SERVER}/") else file
