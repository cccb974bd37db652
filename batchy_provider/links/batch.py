# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Link a task to the batch that it opens, closes, runs in or waits for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperatorLink

if TYPE_CHECKING:
    from airflow.sdk.types import TaskInstanceKey


class BatchLink(BaseOperatorLink):
    """Link to the batch on the page *Batches*, or to the workflow if the task has no batch (yet).

    Airflow asks for the address at the end of the task, in its process, and stores it as an XCom. The batch is the
    operator's `batch_id_shown`. The operators of this package do without that call of Airflow's API: for them, the
    API server finds the batch of the run when a person looks at the task (`batchy_provider.plugin.run_link`).
    """

    name = "Batch"

    def get_link(self, operator: Any, *, ti_key: TaskInstanceKey) -> str:
        """Return the address in the web UI."""
        named = getattr(operator, "workflow", None)
        workflow = named if isinstance(named, str) else named[0] if named else ti_key.dag_id
        return batch_address(str(workflow), getattr(operator, "batch_id_shown", None))


def links_of(operator: type) -> tuple[BatchLink, ...]:
    """Return the links that the process of a task stores, by the class of its operator.

    The API server knows only the classes of this package, so subclasses of others store their link.
    """
    return () if operator.__module__.startswith("batchy_provider.") else (BatchLink(),)


def batch_address(workflow: str, batch_id: int | str | None = None) -> str:
    """Return the address of a workflow, or of one of its batches, on the page *Batches*."""
    from urllib.parse import quote

    from airflow.configuration import conf

    base = conf.get("api", "base_url", fallback="").rstrip("/")
    address = f"{base}/plugin/batches#/workflows/{quote(workflow, safe='')}"
    return address if batch_id is None else f"{address}/batches/{batch_id}"
