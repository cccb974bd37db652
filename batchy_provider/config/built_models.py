# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Build the models of workflow files as soon as this module is imported, not when the first file is read.

For a process that forks, such as Airflow's DAG processor: otherwise each of its forks builds them again.
"""

from __future__ import annotations

from batchy_provider.config.model import WorkflowModel

WorkflowModel.model_rebuild()
