# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Report to OpenLineage what a job reads and writes. Imported only if its provider asks the operator.

Inputs and outputs are lineage only. As Airflow's ``outlets`` they would be assets: they would start the DAGs that are
scheduled by them before the batch is closed, and even if it fails.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import attr
from airflow.providers.openlineage.extractors import OperatorLineage
from openlineage.client.event_v2 import Dataset
from openlineage.client.facet_v2 import RunFacet

from batchy_provider.bundles.dataset_addresses import declared_addresses, split_address

if TYPE_CHECKING:
    from batchy_provider.core.values import Batch

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


def of(
    job: str,
    batch: Batch | None,
    *,
    inputs: Iterable[str],
    outputs: Iterable[str],
    written: Any = None,
) -> OperatorLineage[Any, Any]:
    """
    Return the lineage of one run of a job.

    :param batch: None before the job has read it.
    :param inputs: addresses that the operator was given; `outputs` likewise.
    :param written: content of the script's ``lineage.json``; None if it left none.
    """
    inputs, outputs = [*inputs], [*outputs]
    if written is not None:
        try:
            inputs += declared_addresses(written, "inputs")
            outputs += declared_addresses(written, "outputs")
        except ValueError as error:
            log.warning("%s", error)
    facets = {} if batch is None else {FACET: _facet(job, batch)}
    return OperatorLineage(inputs=[*_datasets(inputs)], outputs=[*_datasets(outputs)], run_facets=facets)


def _facet(job: str, batch: Batch) -> BatchRunFacet:
    own = batch.jobs.get(job, {})
    return BatchRunFacet(
        workflow=batch.workflow,
        job=job,
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
            namespace, name = split_address(uri)
        except ValueError as error:
            log.warning("OpenLineage does not get this dataset: %s", error)
        else:
            yield Dataset(namespace=namespace, name=name)
