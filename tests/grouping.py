# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Which tests go to one process together, when they are run on all cores."""

from __future__ import annotations

OWN_AIRFLOW = ("test_many_workers.py", "test_deploy_scripts.py")
"""Files of tests/integration that start an Airflow of their own: they need not follow the others there."""
APART = ("test_state_machine.py",)
"""Files of few and long tests, which share nothing."""
_HALF = "tests/integration/test_m"
NIGHT = ("test_examples.py",)
"""Files of the first half that go with the second one: all that `./run test` runs on an Airflow shares that."""
EARLY = (
    "tests/integration/",
    "tests/reliability/",
    "tests/unit/test_documentation.py",
    "tests/unit/operators/test_failover_in_mid_run.py",
    "tests/unit/triggers/test_wait",
    "tests/unit/state/test_cluster_storm.py",
    "tests/unit/operators/test_in_airflow.py",
    "tests/unit/observability/test_lineage_and_traces.py",
    "tests/unit/dag_factory/test_seed_not_yet_implemented.py",
    "tests/unit/test_re",
    "tests/unit/plugin/test_openapi.py",
    "tests/unit/plugin/test_redis_junk.py",
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


def group(nodeid: str) -> str:
    """Return what a test belongs to.

    A file's tests stay together, so that its fixtures, some of which take a minute, are made once. Those of
    tests/integration share an Airflow; there are two of them, each for one half.
    """
    file = nodeid.partition("::")[0]
    folder, _, name = file.rpartition("/")
    if name in APART:
        return nodeid
    if folder != "tests/integration" or name in OWN_AIRFLOW:
        return file
    return f"{folder}, {'first' if file < _HALF and name not in NIGHT else 'second'} half"
