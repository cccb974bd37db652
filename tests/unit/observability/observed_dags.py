# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""A DAG file of Airflow, and the program that runs its DAGs: one night that succeeds and one that fails."""

import os
import sys
from pathlib import Path

from batchy_provider.dag_factory import load_dags

DAGS = load_dags(Path(os.environ["BATCHY_TEST_OBSERVED_CFG"]), globals())

if __name__ == "__main__":
    for name in sys.argv[1:]:
        print(name, DAGS[name].test().state, flush=True)  # without the flush, a fork prints it once more
