# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Build Airflow DAGs from workflow files.

A loader file in the DAGs folder needs two lines::

    from batchy_provider.dag_factory import cfg_folder, load_dags

    load_dags(cfg_folder(__file__), globals())
"""

from __future__ import annotations

from batchy_provider.dag_factory.loader import build_dags, load_dags, raise_config_errors
from batchy_provider.dag_factory.warnings_dag import warnings_dag
from batchy_provider.hooks.deployment import cfg_folder

__all__ = ["build_dags", "cfg_folder", "load_dags", "raise_config_errors", "warnings_dag"]
