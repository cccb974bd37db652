# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Errors of bundles, of their runs and of the result store."""

from __future__ import annotations

import contextlib
import errno
import socket
from collections.abc import Iterator

from batchy_provider.exceptions import BatchyError


class BundleError(BatchyError):
    """Base class of all errors about bundles."""


class BundleNotFoundError(BundleError):
    """There is neither a folder nor a file at the bundle's path."""


class BundleRefusedError(BundleError):
    """The bundle breaks a rule, and is not used.

    :param bundle: the bundle's path or URL, as the user wrote it.
    :param reason: a sentence that says which rule, and what to do.
    :param entry: the name of the offending entry, if there is one.
    """

    def __init__(self, bundle: str, reason: str, entry: str | None = None) -> None:
        where = f"Bundle {bundle} refused" + (f", entry {entry!r}" if entry is not None else "")
        super().__init__(f"{where}: {reason}")
        self.bundle = bundle
        self.reason = reason
        self.entry = entry

    def __reduce__(self) -> tuple[type[BundleRefusedError], tuple[str, str, str | None]]:
        return type(self), (self.bundle, self.reason, self.entry)


class BundlePinError(BundleError):
    """The bundle does not have the content that `sha256` pins."""


class JobEnvironmentError(BundleError):
    """A script cannot be given a variable, an argument or a param of its job."""


class RunnerError(BundleError):
    """The script could not be started, or its output could not be written."""


class ResultError(BundleError):
    """A result could not be stored, does not exist, or was changed after it was stored."""


class ResultNotStoredError(ResultError):
    """A script has run, and its result could not be stored.

    :param exit_code: of the script; None if it was stopped because its output could not be written.
    """

    def __init__(self, text: str, exit_code: int | None) -> None:
        super().__init__(text)
        self.exit_code = exit_code

    def __reduce__(self) -> tuple[type[ResultNotStoredError], tuple[str, int | None]]:
        return type(self), (str(self), self.exit_code)


class DamagedRecordError(ResultError):
    """The result store has the record of an execution, but it cannot be read."""


class OutputGoneError(ResultError):
    """The output of an earlier job is no longer in the result store.

    :param url: URL of the output.
    """

    def __init__(self, url: str) -> None:
        text = f"The output {url} is gone"
        remedy = "Was the result store pruned? Run that job again."
        if "://" not in url or url.startswith("file://"):
            text += f", or was never on this machine, {socket.gethostname()}"
            remedy += (
                " Or did it run on another worker? Then `[batchy] results_url` must name a place that all workers "
                "reach, such as s3://…"
            )
        super().__init__(f"{text}. {remedy}")
        self.url = url

    def __reduce__(self) -> tuple[type[OutputGoneError], tuple[str]]:
        return type(self), (self.url,)


def is_full_disk(error: BaseException | None) -> bool:
    """Tell whether an error was caused by a full disk or quota."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        error = error.__cause__
    return False


@contextlib.contextmanager
def wrap_store_errors(kind: type[BundleError], what: str, then: str) -> Iterator[None]:
    """Raise any error of an object store as one of ours. Each store has its own errors, which seldom name the path.

    :param kind: the error to raise.
    :param what: what failed, as the beginning of a sentence.
    :param then: what to do about it.
    """
    try:
        yield
    except BundleError:
        raise
    except Exception as error:
        raise kind(f"{what}: {type(error).__name__}: {str(error).rstrip('.')}. {then}.") from error
