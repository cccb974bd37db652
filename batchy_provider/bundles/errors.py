# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""What can go wrong with a bundle, its run and its results."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator

from batchy_provider.exceptions import BatchyError


class BundleError(BatchyError):
    """Base of all errors about bundles."""


class BundleNotFoundError(BundleError):
    """There is neither a folder nor a file at the bundle's path."""


class BundleRefusedError(BundleError):
    """
    The bundle breaks a rule; nothing of it was kept.

    :param bundle: the bundle's path or URL, as the user wrote it
    :param reason: a sentence that says which rule and what to do
    :param entry: the name of the offending entry, if there is one
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
    """The bundle is not the one that was pinned with `sha256`."""


class JobEnvironmentError(BundleError):
    """A variable of the job's `env` cannot be given to a script."""


class RunnerError(BundleError):
    """The script could not be started, or its output could not be written."""


class ResultError(BundleError):
    """A result could not be stored, or is not there, or is not what it was when it was stored."""


class ResultNotStoredError(ResultError):
    """
    A script has run, and nothing of what it wrote could be kept.

    :param exit_code: of the script; None if it was stopped, since its output could not be written
    """

    def __init__(self, text: str, exit_code: int | None) -> None:
        super().__init__(text)
        self.exit_code = exit_code

    def __reduce__(self) -> tuple[type[ResultNotStoredError], tuple[str, int | None]]:
        return type(self), (str(self), self.exit_code)


class DamagedRecordError(ResultError):
    """The record of an execution is in the store and cannot be read."""


class OutputGoneError(ResultError):
    """
    An output that an earlier job has stored is not there.

    :param url: where it was
    """

    def __init__(self, url: str) -> None:
        said = f"The output {url} is gone"
        pruned = "Was the result store pruned? Run that job again."
        if "://" not in url or url.startswith("file://"):
            said += f", or was never on this machine, {socket.gethostname()}"
            pruned += (
                " Or did it run on another worker? Then `[batchy] results_url` must name a place that all workers "
                "reach, such as s3://…"
            )
        super().__init__(f"{said}. {pruned}")
        self.url = url

    def __reduce__(self) -> tuple[type[OutputGoneError], tuple[str]]:
        return type(self), (self.url,)


@contextlib.contextmanager
def wrap_store_errors(kind: type[BundleError], what: str, then: str) -> Iterator[None]:
    """
    Say in our words what an object store refuses: each has errors of its own, and they seldom name the place.

    :param what: what could not be done
    :param then: what to do about it
    """
    try:
        yield
    except BundleError:
        raise
    except Exception as error:
        raise kind(f"{what}: {type(error).__name__}: {str(error).rstrip('.')}. {then}.") from error
