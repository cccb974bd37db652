# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Which tests go to one process together, when they are run on all cores."""

from __future__ import annotations

OWN_AIRFLOW = ("test_many_workers.py", "test_deploy_scripts.py")
"""Files of tests/integration that start an Airflow of their own: they need not follow the others there."""
APART = ("test_state_machine.py",)
"""Files of few and long tests, which share nothing."""
_HALF = "tests/integration/test_m"


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
    return f"{folder}, {'first' if file < _HALF else 'second'} half"
