# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""From a task to the workflow that it opens, closes or waits for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperatorLink

if TYPE_CHECKING:
    from airflow.sdk.types import TaskInstanceKey


class WorkflowLink(BaseOperatorLink):
    """Leads to the DAG of the workflow that a task speaks of, whichever DAG the task is in."""

    name = "Workflow"

    def get_link(self, operator: Any, *, ti_key: TaskInstanceKey) -> str:
        """Return the address of the workflow's DAG in the web UI."""
        from urllib.parse import quote

        from airflow.configuration import conf

        base = conf.get("api", "base_url", fallback="").rstrip("/")
        named = operator.workflow
        workflow = named if isinstance(named, str) else named[0]  # a wait for several leads to the first
        return f"{base}/dags/{quote(str(workflow), safe='')}"
