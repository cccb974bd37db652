# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The script of a handler (``when: failed``): it belongs to a batch, but is no job of its state."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from batchy_provider.operators.bundle import BashBundleOperator

if TYPE_CHECKING:
    from airflow.sdk import Context

    from batchy_provider.batches.model import Batch


class HandlerBundleOperator(BashBundleOperator):
    """Runs a handler's script with the window of the whole batch, and with params from the file."""

    # Set by the factory, and no argument: each `__init__` of an operator costs a good part of its making.
    handler_params: Mapping[str, Any] = {}

    def _batch(self, store: Any, context: Context) -> Batch:
        from batchy_provider.batches.model import run_key
        from batchy_provider.exceptions import UnknownBatchError

        assert self.workflow is not None
        ti = context["ti"]
        batch: Batch | None = store.batch_of_run(self.workflow, run_key(self.workflow, ti.dag_id, ti.run_id))
        if batch is None:  # the gate has found it a moment ago
            raise UnknownBatchError(f"the batch of run {ti.run_id!r} of workflow {self.workflow!r} is gone")
        window = {"from_date": batch.from_date, "to_date": batch.to_date}
        return replace(batch, jobs={**batch.jobs, self.job: {**self.handler_params, **window}})
