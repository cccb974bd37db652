# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The Airflow DAGs of all workflow files: `cfg` beside this folder, or `[batchy] cfg_folder`."""

from batchy_provider.dag_factory import cfg_folder, load_dags

load_dags(cfg_folder(__file__), globals())
