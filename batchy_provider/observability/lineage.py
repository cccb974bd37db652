# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Report to OpenLineage what a job reads and writes. Imported only if the OpenLineage provider asks an operator.

Inputs and outputs are lineage only, not Airflow's ``outlets``. Outlets are assets: they would start DAGs that wait for
these assets before the batch is closed, and even if it fails later.
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
    batchId: int = attr.field()  # noqa: N815 - OpenLineage's style of names
    kind: str = attr.field()
    # The names of attributes are those of the facet in OpenLineage.
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
    """Return the lineage of one run of a job.

    :param batch: the batch of the run; None if the job has not read it yet.
    :param inputs: addresses of datasets that the operator declares.
    :param outputs: likewise.
    :param written: content of the script's ``lineage.json``; None if there is no such file.
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
