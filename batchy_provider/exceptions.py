# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The errors that users meet. Commands, page and logs show their messages, never a traceback."""

from __future__ import annotations

from typing import Protocol


class BatchyError(Exception):
    """Base class of all errors that this package raises on purpose."""


class ConfigError(BatchyError):
    """A configuration cannot be used. The message says where, what was expected, and what to do."""


class InvalidNameError(BatchyError):
    """The name of a workflow or job cannot be a part of Redis keys, URLs and Airflow ids."""


class StateError(BatchyError):
    """A value in Redis has a form that neither this package nor the original Batchy writes."""


class UnknownWorkflowError(BatchyError):
    """The workflow is neither in Redis nor in the given configuration."""


class NoDagError(BatchyError):
    """No run can be started: Airflow has no DAG of the workflow, or cannot be reached from here."""


class UnknownJobError(BatchyError):
    """The workflow has no job of this name."""


class UnknownBatchError(BatchyError):
    """The workflow has no batch with this id. Pruning may have removed it."""


class WindowError(BatchyError):
    """The requested window is not valid: not a date, empty, backwards, or in the future."""


class NothingToLoadError(BatchyError):
    """There is no new data to load, so no batch was opened. Nothing was changed.

    :param message: up to where the data is loaded, and when there will be more.
    :param code: why, as the value of a `NothingToLoad`.
    :param ready_at: the earliest time at which there can be something to load, ISO 8601 UTC; None if that is not known.
    """

    def __init__(self, message: str, *, code: str, ready_at: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.ready_at = ready_at


class BatchHolder(Protocol):
    """Who holds a batch open: a run of a DAG of an Airflow (`deployment`), or a person or another program (`by`)."""

    @property
    def dag_id(self) -> str | None: ...

    @property
    def run_id(self) -> str | None: ...

    @property
    def by(self) -> str | None: ...

    @property
    def deployment(self) -> str | None: ...


class BatchHeldError(BatchyError):
    """Another holder has the batch open.

    :param message: who holds the batch, since when, and what to do.
    :param holder: who opened the open batch.
    :param batch_id: id of the open batch.
    """

    def __init__(self, message: str, *, holder: BatchHolder, batch_id: int) -> None:
        super().__init__(message)
        self.holder = holder
        self.batch_id = batch_id


class WorkflowOnHoldError(BatchyError):
    """A person has put the workflow on hold, so no batch opens. Nothing was changed.

    :param message: who has set the hold, why, until when, and what to do.
    :param by: who has set the hold.
    :param why: the reason that this person gave.
    :param until: when the hold ends by itself, ISO 8601 UTC; None: only a release ends it.
    """

    def __init__(self, message: str, *, by: str, why: str, until: str | None) -> None:
        super().__init__(message)
        self.by = by
        self.why = why
        self.until = until


class NotOnHoldError(BatchyError):
    """The workflow is not on hold, so there is no hold to release. Nothing was changed."""


class NotFailedError(BatchyError):
    """The batch has not failed, so there is no failure to acknowledge. Nothing was changed."""


class NotRecordedError(BatchyError):
    """Another program has opened the batch, and it has no record that could hold a note. Nothing was changed."""


class NotOpenError(BatchyError):
    """The batch to close is not the open one. Nothing was changed."""


class ConflictError(BatchyError):
    """Other programs changed the workflow during every attempt to change it. Nothing was changed."""


class RedisUnavailableError(BatchyError):
    """Redis cannot be reached, or does not answer in time. The message says whether a change was made."""


class ArchiveError(BatchyError):
    """The archive in the result store cannot be read or written."""


class ArchiveUnavailableError(ArchiveError):
    """Redis does not know the workflow, and the archive cannot be read to find out whether data was lost."""


class LostStateError(BatchyError):
    """Redis has an older state than the archive, or none. To open a batch now would load data again."""


class WorkflowExistsError(BatchyError):
    """The name of a workflow is taken, in Redis or in the archive. Nothing was changed."""


class WorkflowDefinedError(BatchyError):
    """A file still defines the workflow, so its next run would start it again. Nothing was changed."""


class UnfinishedRenameError(BatchyError):
    """A rename of the workflow was interrupted, and nothing else may change the workflow until it is finished."""


class ImportDocumentError(BatchyError):
    """A document to import cannot be used. The message lists each error with its place. Nothing was changed."""


class StackError(BatchyError):
    """A part of the local stack did not start, or has stopped. The message ends with the last lines of its log."""
