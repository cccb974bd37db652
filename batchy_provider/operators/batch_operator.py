# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Base class of the operators that open and close a batch: connection, retries, link, and what both return."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowFailException
from airflow.sdk import BaseOperator

from batchy_provider.exceptions import ArchiveUnavailableError, BatchyError, ConflictError, RedisUnavailableError
from batchy_provider.links.batch import links_of
from batchy_provider.operators.dag_run import retry_defaults
from batchy_provider.operators.template_fields import TemplatesOnly

if TYPE_CHECKING:
    from airflow.sdk import Context

    from batchy_provider.core.values import Batch
    from batchy_provider.state.store import Store


class BatchOperator(TemplatesOnly, BaseOperator):
    """Base of the operators that open and close a batch.

    Both are safe to repeat. So by default they retry for some minutes, and a restart of Redis does not fail a night. An
    error that no retry can correct fails the task at once.
    """

    template_fields: Sequence[str] = ("workflow", "redis_conn_id")
    batch_id_shown: int | None = None

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        cls.operator_extra_links = links_of(cls)

    def __init__(self, *, workflow: str, redis_conn_id: str | None = None, **kwargs: Any) -> None:
        super().__init__(**retry_defaults(kwargs), **kwargs)
        self.workflow = workflow
        self.redis_conn_id = redis_conn_id

    @contextmanager
    def _store(self) -> Iterator[Store]:
        """Yield the store. Errors that only a person can correct fail the task without a retry."""
        from batchy_provider.hooks.batchy import BatchyHook

        try:
            with BatchyHook(self.redis_conn_id) as store:
                yield store
        except (RedisUnavailableError, ConflictError, ArchiveUnavailableError):
            raise
        except BatchyError as error:
            raise AirflowFailException(str(error)) from error


def batch_summary(batch: Batch) -> dict[str, Any]:
    """Return workflow, id, kind and window of a batch, and the windows of its jobs, as an XCom."""
    return {
        "workflow": batch.workflow,
        "batch_id": batch.batch_id,
        "kind": batch.kind,
        "from_date": batch.from_date,
        "to_date": batch.to_date,
        "jobs": {
            name: {"from_date": job.get("from_date"), "to_date": job.get("to_date")} for name, job in batch.jobs.items()
        },
    }


def attempt_of(context: Context) -> int:
    """Return the number of the task's try; 1 for the first."""
    return int(getattr(context["ti"], "try_number", 1))
