# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The HTTP status, ``code`` and ``type`` of each error. Programs read them, so they never change."""

from __future__ import annotations

from http import HTTPStatus
from typing import Literal, NamedTuple, get_args

from fastapi import HTTPException

from batchy_provider import exceptions
from batchy_provider.bundles import errors as bundle_errors
from batchy_provider.bundles.confined_files import OutsideFolderError
from batchy_provider.config.reader import InvalidFilesError
from batchy_provider.services.transfer import PartlyImportedError
from batchy_provider.services.upload_files import UploadConflictError, UploadStorageError

ErrorCode = Literal[
    "airflow_refused",
    "airflow_unavailable",
    "archive_error",
    "archive_off",
    "archive_unavailable",
    "batch_held",
    "batch_not_failed",
    "batch_not_open",
    "batch_not_recorded",
    "bundle_error",
    "bundle_not_found",
    "conflict",
    "damaged_record",
    "forbidden",
    "internal_error",
    "invalid_document",
    "invalid_files",
    "invalid_name",
    "invalid_request",
    "invalid_value",
    "invalid_window",
    "length_required",
    "lost_state",
    "method_not_allowed",
    "no_failed_task",
    "no_run",
    "not_found",
    "not_on_hold",
    "nothing_to_load",
    "on_hold",
    "output_gone",
    "outside_folder",
    "partly_imported",
    "redis_unavailable",
    "rename_unfinished",
    "result_not_found",
    "state_error",
    "too_large",
    "unauthenticated",
    "unknown_batch",
    "unknown_dag",
    "unknown_job",
    "unknown_run",
    "unknown_workflow",
    "unreadable_request",
    "unsupported_media_type",
    "upload_conflict",
    "upload_off",
    "upload_storage",
    "workflow_defined",
    "workflow_exists",
]
ERROR_CODES: tuple[ErrorCode, ...] = get_args(ErrorCode)


class ErrorKind(NamedTuple):
    """The members of an error response by which programs decide.

    :param type: the member `type` of RFC 9457: the name of the error's class in the first release. It keeps this value
        when the class is renamed.
    """

    status: HTTPStatus
    code: ErrorCode
    type: str


ERROR_KINDS: dict[type[exceptions.BatchyError], ErrorKind] = {
    exceptions.BatchyError: ErrorKind(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid_value", "BatchyError"),
    exceptions.ConfigError: ErrorKind(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid_value", "ConfigError"),
    InvalidFilesError: ErrorKind(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid_files", "FaultsError"),
    exceptions.InvalidNameError: ErrorKind(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid_name", "InvalidNameError"),
    exceptions.WindowError: ErrorKind(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid_window", "WindowError"),
    exceptions.UnknownWorkflowError: ErrorKind(HTTPStatus.NOT_FOUND, "unknown_workflow", "UnknownWorkflowError"),
    exceptions.NoDagError: ErrorKind(HTTPStatus.NOT_FOUND, "unknown_dag", "NoDagError"),
    exceptions.UnknownJobError: ErrorKind(HTTPStatus.NOT_FOUND, "unknown_job", "UnknownJobError"),
    exceptions.UnknownBatchError: ErrorKind(HTTPStatus.NOT_FOUND, "unknown_batch", "UnknownBatchError"),
    exceptions.BatchHeldError: ErrorKind(HTTPStatus.CONFLICT, "batch_held", "BatchHeldError"),
    exceptions.WorkflowOnHoldError: ErrorKind(HTTPStatus.CONFLICT, "on_hold", "WorkflowOnHoldError"),
    exceptions.NotOnHoldError: ErrorKind(HTTPStatus.CONFLICT, "not_on_hold", "NotOnHoldError"),
    exceptions.NotFailedError: ErrorKind(HTTPStatus.CONFLICT, "batch_not_failed", "NotFailedError"),
    exceptions.NotRecordedError: ErrorKind(HTTPStatus.CONFLICT, "batch_not_recorded", "NotRecordedError"),
    exceptions.NotOpenError: ErrorKind(HTTPStatus.CONFLICT, "batch_not_open", "NotOpenError"),
    exceptions.NothingToLoadError: ErrorKind(HTTPStatus.CONFLICT, "nothing_to_load", "NothingToLoadError"),
    exceptions.ConflictError: ErrorKind(HTTPStatus.CONFLICT, "conflict", "ConflictError"),
    exceptions.StateError: ErrorKind(HTTPStatus.CONFLICT, "state_error", "StateError"),
    exceptions.LostStateError: ErrorKind(HTTPStatus.CONFLICT, "lost_state", "LostStateError"),
    exceptions.WorkflowExistsError: ErrorKind(HTTPStatus.CONFLICT, "workflow_exists", "WorkflowExistsError"),
    exceptions.WorkflowDefinedError: ErrorKind(HTTPStatus.CONFLICT, "workflow_defined", "WorkflowDefinedError"),
    exceptions.UnfinishedRenameError: ErrorKind(HTTPStatus.CONFLICT, "rename_unfinished", "UnfinishedRenameError"),
    exceptions.ImportDocumentError: ErrorKind(
        HTTPStatus.UNPROCESSABLE_ENTITY, "invalid_document", "ImportDocumentError"
    ),
    PartlyImportedError: ErrorKind(HTTPStatus.CONFLICT, "partly_imported", "PartlyImportedError"),
    exceptions.ArchiveError: ErrorKind(HTTPStatus.SERVICE_UNAVAILABLE, "archive_error", "ArchiveError"),
    exceptions.ArchiveUnavailableError: ErrorKind(
        HTTPStatus.SERVICE_UNAVAILABLE, "archive_unavailable", "ArchiveUnavailableError"
    ),
    exceptions.RedisUnavailableError: ErrorKind(
        HTTPStatus.SERVICE_UNAVAILABLE, "redis_unavailable", "RedisUnavailableError"
    ),
    bundle_errors.BundleError: ErrorKind(HTTPStatus.UNPROCESSABLE_ENTITY, "bundle_error", "BundleError"),
    bundle_errors.BundleRefusedError: ErrorKind(HTTPStatus.UNPROCESSABLE_ENTITY, "bundle_error", "BundleRefusedError"),
    bundle_errors.BundlePinError: ErrorKind(HTTPStatus.UNPROCESSABLE_ENTITY, "bundle_error", "BundlePinError"),
    bundle_errors.BundleNotFoundError: ErrorKind(HTTPStatus.NOT_FOUND, "bundle_not_found", "BundleNotFoundError"),
    OutsideFolderError: ErrorKind(HTTPStatus.FORBIDDEN, "outside_folder", "OutsideError"),
    bundle_errors.ResultError: ErrorKind(HTTPStatus.NOT_FOUND, "result_not_found", "ResultError"),
    bundle_errors.OutputGoneError: ErrorKind(HTTPStatus.NOT_FOUND, "output_gone", "OutputGoneError"),
    bundle_errors.DamagedRecordError: ErrorKind(
        HTTPStatus.INTERNAL_SERVER_ERROR, "damaged_record", "DamagedRecordError"
    ),
    UploadConflictError: ErrorKind(HTTPStatus.CONFLICT, "upload_conflict", "UploadConflictError"),
    UploadStorageError: ErrorKind(HTTPStatus.INSUFFICIENT_STORAGE, "upload_storage", "UploadStorageError"),
}
"""Class of an error → its response. A class that is not listed has the entry of its nearest base class."""

_CODE_OF_STATUS: dict[int, ErrorCode] = {
    400: "unreadable_request",
    401: "unauthenticated",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    409: "conflict",
    411: "length_required",
    413: "too_large",
    415: "unsupported_media_type",
    422: "invalid_request",
    503: "redis_unavailable",
}


class ServerError(HTTPException):
    """An HTTP error with a code of its own: it says more than the status.

    :param detail: what is wrong, what was expected, what to do.
    """

    def __init__(self, status_code: int, code: ErrorCode, detail: str) -> None:
        super().__init__(status_code, detail)
        self.code = code


def kind_of(error: exceptions.BatchyError) -> ErrorKind:
    """Return status, code and type of an error of this package."""
    return next(ERROR_KINDS[cls] for cls in type(error).__mro__ if cls in ERROR_KINDS)


def code_of_status(status: int) -> ErrorCode:
    """Return the code of an HTTP error that has no code of its own."""
    return _CODE_OF_STATUS.get(status, "internal_error" if status >= 500 else "invalid_request")
