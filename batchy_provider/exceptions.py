# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The errors that users meet. Commands, page and logs show their messages, never a traceback."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from batchy_provider.core.values import Holder


class BatchyError(Exception):
    """Base of all errors that this package raises on purpose; its text is meant for the user."""


class ConfigError(BatchyError):
    """A configuration cannot be used; the text says where, what was expected and what to do."""


class InvalidNameError(BatchyError):
    """A workflow or job has a name that Redis keys, URLs or Airflow ids could not carry."""


class StateError(BatchyError):
    """What is stored in Redis is not what this package or the original Batchy would have written."""


class UnknownWorkflowError(BatchyError):
    """The workflow is in neither Redis nor the given configuration."""


class UnknownJobError(BatchyError):
    """The workflow has no job of that name."""


class UnknownBatchError(BatchyError):
    """The workflow has no batch of that id; it may have been pruned."""


class WindowError(BatchyError):
    """A window was asked for that cannot be: not a date, empty, backwards, or in the future."""


class BatchHeldError(BatchyError):
    """Another holder has the batch open.

    :param message: who holds it, since when, and what to do.
    :param holder: who opened the open batch.
    :param batch_id: the open batch.
    """

    def __init__(self, message: str, *, holder: Holder, batch_id: int) -> None:
        super().__init__(message)
        self.holder = holder
        self.batch_id = batch_id


class NotOpenError(BatchyError):
    """A batch was to be closed that is not the open one; nothing was changed."""


class ConflictError(BatchyError):
    """Others changed the workflow at every attempt to change it; nothing was changed."""


class RedisUnavailableError(BatchyError):
    """Redis could not be reached or did not answer in time; whether a change was made is said in the text."""


class ArchiveError(BatchyError):
    """The archive in the result store cannot be read or written."""


class ArchiveUnavailableError(ArchiveError):
    """Redis does not know the workflow, and the archive could not be asked whether it ought to."""


class LostStateError(BatchyError):
    """Redis holds an older state than the archive, or none: to open now would load data again."""


class StackError(BatchyError):
    """A part of the local stack did not come up, or is gone; the text ends with the tail of its log."""
