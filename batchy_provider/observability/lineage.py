# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""What a job reads and writes, told to OpenLineage. Only its provider imports this, by the operator's methods.

Inputs and outputs are lineage and nothing else: as Airflow's own ``outlets`` they would be assets, and start the DAGs
that are scheduled by them, whether or not the batch succeeds in the end.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import attr
from airflow.providers.openlineage.extractors import OperatorLineage
from openlineage.client.event_v2 import Dataset
from openlineage.client.facet_v2 import RunFacet

from batchy_provider.bundles.dataset_addresses import split, told

if TYPE_CHECKING:
    from batchy_provider.core.values import Batch
    from batchy_provider.operators.bundle import BashBundleOperator

log = logging.getLogger(__name__)

FACET = "batchy_batch"


@attr.define
class BatchRunFacet(RunFacet):
    """The batch that a job's run belongs to, and the window of data that it loads."""

    workflow: str = attr.field()
    job: str = attr.field()
    batchId: int = attr.field()  # noqa: N815 - as OpenLineage writes names
    kind: str = attr.field()
    fromDate: str | None = attr.field(default=None)  # noqa: N815
    toDate: str | None = attr.field(default=None)  # noqa: N815


def of(operator: BashBundleOperator, batch: Batch | None, written: Any = None) -> OperatorLineage[Any, Any]:
    """
    Return what is told of a run of a job.

    :param batch: None before the job knows it.
    :param written: what the script left as ``lineage.json``.
    """
    inputs, outputs = [*operator.inputs], [*operator.outputs]
    if written is not None:
        try:
            inputs += told(written, "inputs")
            outputs += told(written, "outputs")
        except ValueError as error:
            log.warning("%s", error)
    facets = {} if batch is None else {FACET: _facet(operator, batch)}
    return OperatorLineage(inputs=[*_datasets(inputs)], outputs=[*_datasets(outputs)], run_facets=facets)


def _facet(operator: BashBundleOperator, batch: Batch) -> BatchRunFacet:
    own = batch.jobs.get(operator.job, {})
    return BatchRunFacet(
        workflow=batch.workflow,
        job=operator.job,
        batchId=batch.batch_id,
        kind=batch.kind,
        fromDate=_moment(own.get("from_date") or batch.from_date),
        toDate=_moment(own.get("to_date") or batch.to_date),
    )


def _moment(date: str | None) -> str | None:
    return None if date is None else f"{date}Z"


def _datasets(uris: Iterable[str]) -> Iterator[Dataset]:
    for uri in dict.fromkeys(uris):
        try:
            namespace, name = split(uri)
        except ValueError as error:
            log.warning("Not told to OpenLineage: %s", error)
        else:
            yield Dataset(namespace=namespace, name=name)
