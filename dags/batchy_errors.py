# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Shows what is wrong with workflow files as an import error in Airflow's UI; it has no DAG of its own.

Not in batchy_dags.py, because Airflow drops all DAGs of a file that raises.
"""

from batchy_provider.dag_factory import cfg_folder, raise_config_errors

raise_config_errors(cfg_folder(__file__))
