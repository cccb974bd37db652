# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Open the result store that the command line names, and the archive in it."""

from __future__ import annotations

import argparse
import configparser
import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from batchy_provider.exceptions import ArchiveError, BatchyError

if TYPE_CHECKING:
    from batchy_provider.archive.archive_files import ArchiveFiles
    from batchy_provider.archive.archiver import Archiver
    from batchy_provider.bundles.result_store import ResultStore


def add_results_option(parser: argparse.ArgumentParser) -> None:
    """Add the option that says where the result store is."""
    parser.add_argument(
        "--results",
        metavar="URL",
        help="folder or URL of the result store (default: BATCHY_RESULTS, Airflow's [batchy] results_url, or "
        "batchy/results under AIRFLOW_HOME)",
    )


@contextlib.contextmanager
def airflow_logs_to_stderr() -> Iterator[None]:
    """Send what Airflow logs to stderr, since our stdout is data. Airflow goes on with the stream that it found."""
    os.environ.setdefault("AIRFLOW__LOGGING__LOGGING_LEVEL", "ERROR")
    with contextlib.redirect_stdout(sys.stderr):
        yield


def results_url(arguments: argparse.Namespace) -> str:
    """Return the folder or URL of the result store."""
    return _named_url(arguments) or str(_default_folder())


def open_results(arguments: argparse.Namespace) -> ResultStore:
    """Open the result store. Loads Airflow only if it is not a local folder."""
    from batchy_provider.hooks.deployment import result_store

    with airflow_logs_to_stderr():
        return result_store(results_url(arguments))


def open_archive(arguments: argparse.Namespace) -> ArchiveFiles:
    """Open the archive in the result store.

    :raises ArchiveError: the result store cannot be opened.
    """
    from batchy_provider.hooks.deployment import archive_files

    with airflow_logs_to_stderr():
        try:
            return archive_files(results_url(arguments))
        except BatchyError:
            raise
        except Exception as error:
            raise ArchiveError(f"the result store {results_url(arguments)} cannot be opened: {error}") from error


def archiver_of(arguments: argparse.Namespace, warn: Callable[[str], None]) -> Archiver | None:
    """Return the writer of the archive.

    :param warn: called with a sentence when the archive cannot be written.
    :returns: None if the archive is switched off, or this machine knows no result store.
    """
    if _airflow_option("archive").strip().lower() in ("false", "f", "0", "no", "off"):
        return None
    # A person who only has the address of Redis must not start an archive in a folder of their own.
    if not (_named_url(arguments) or _default_folder().is_dir() or getattr(arguments, "connection", None)):
        return None
    from batchy_provider.archive.archiver import Archiver

    def files() -> ArchiveFiles:
        from batchy_provider.hooks.deployment import archive_files

        with airflow_logs_to_stderr():
            return archive_files(results_url(arguments))

    return Archiver(files, warn=warn)


def _named_url(arguments: argparse.Namespace) -> str:
    return getattr(arguments, "results", None) or os.environ.get("BATCHY_RESULTS") or _airflow_option("results_url")


def _default_folder() -> Path:
    return _airflow_home() / "batchy" / "results"


def _airflow_home() -> Path:
    return Path(os.environ.get("AIRFLOW_HOME", "~/airflow")).expanduser()


def _airflow_option(name: str) -> str:
    """Return Airflow's option `[batchy] name` without loading Airflow; empty if it is not set."""
    value = os.environ.get(f"AIRFLOW__BATCHY__{name.upper()}")
    if not value:
        config = configparser.RawConfigParser(strict=False)
        config.read(os.environ.get("AIRFLOW_CONFIG") or _airflow_home() / "airflow.cfg", encoding="utf-8")
        value = config.get("batchy", name, fallback="")
    return value
