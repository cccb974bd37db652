# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Link a task to the batch that its run has opened. The API server finds it when a person looks at the task."""

from __future__ import annotations

import logging
from functools import cache
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperatorLink

from batchy_provider.links.batch import batch_address

if TYPE_CHECKING:
    from airflow.sdk.types import TaskInstanceKey

_PATIENCE_SECONDS = 1.0
"""How long a lost connection to Redis is retried: a person waits for the list of links."""
_log = logging.getLogger(__name__)


class RunLink(BaseOperatorLink):
    """Link to the batch on the page *Batches*, or to the workflow if the run has opened no batch (yet).

    The address is the one of `BatchLink`. This class does not make a task store it.
    """

    name = "Batch"

    @property
    def operators(self) -> list[type]:  # type: ignore[override]  # Airflow reads it of the instance
        """The operators whose tasks have the link."""
        return _operators()

    def get_link(self, operator: Any, *, ti_key: TaskInstanceKey) -> str:
        """Return the address in the web UI.

        :param operator: as the API server has it, with templates as they are in the file of its DAG.
        """
        shared = getattr(operator, "partial_kwargs", {})  # of a mapped task
        named = shared.get("workflow") or getattr(operator, "workflow", None)
        if not named:  # a script without a batch
            return batch_address(ti_key.dag_id)
        workflow = ti_key.dag_id if "{" in named else named
        return batch_address(workflow, _batch_id(workflow, ti_key))


@cache
def _operators() -> list[type]:
    from batchy_provider.operators.batch import BatchyCloseOperator, BatchyOpenOperator
    from batchy_provider.operators.bundle import BashBundleOperator

    return [BatchyOpenOperator, BashBundleOperator, BatchyCloseOperator]


def _batch_id(workflow: str, ti_key: TaskInstanceKey) -> int | None:
    """Return the batch that a run has opened; None without one, or if Redis does not answer."""
    from batchy_provider.hooks.batchy import BatchyHook
    from batchy_provider.operators.dag_run import run_keys_of

    try:
        with BatchyHook(patience=_PATIENCE_SECONDS) as store:
            batch = store.batch_of_run(workflow, *run_keys_of(workflow, ti_key))
    except Exception as error:  # a link to the workflow is better than no links of any kind
        _log.info("The batch of run %r of %s is not known: %s", ti_key.run_id, ti_key.dag_id, error)
        return None
    return None if batch is None else batch.batch_id
