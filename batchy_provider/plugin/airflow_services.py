# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Build the services from this Airflow's configuration: Redis connection, workflow files, stores, audit log."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING, Annotated

from fastapi import Depends

from batchy_provider.exceptions import BatchyError
from batchy_provider.hooks.airflow_database import read_airflow
from batchy_provider.hooks.audit import log_in_airflow
from batchy_provider.hooks.batchy import BatchyHook
from batchy_provider.hooks.deployment import (
    archive_files,
    bundle_cache,
    cfg_folder,
    is_archive_on,
    open_path,
    result_store,
)
from batchy_provider.hooks.fill_runs import AirflowDagRuns
from batchy_provider.hooks.lost_tries import read_lost_tries
from batchy_provider.services.composition import Services

if TYPE_CHECKING:
    from batchy_provider.state.store import Store

RETRY_SECONDS = 2.0
"""How long a request retries a lost connection to Redis. A person waits for it, so this is shorter than for a task."""

_lock = threading.Lock()
_services: Services | None = None
_warmed: Services | None = None


def get_services() -> Services:
    """Return the services of this process. The first call builds them."""
    global _services  # noqa: PLW0603 - one for each process
    with _lock:
        if _services is None:
            _services = Services(
                store=_store,
                cfg=cfg_folder(),
                results=result_store,
                archive=archive_files if is_archive_on() else None,
                cache=bundle_cache,
                audit=log_in_airflow,
                dag_runs=AirflowDagRuns(),
                airflow=read_airflow,
                lost_tries=read_lost_tries,
                open_path=open_path,
                is_server=True,
            )
        return _services


def reset_services() -> None:
    """Let the next request build the services again, with the current connection. Running requests keep theirs."""
    global _services  # noqa: PLW0603 - one for each process
    with _lock:
        if _services is not None:
            _services.stop_listening()
        _services = None


def warm_up() -> None:
    """Start to read the workflow files and the state, which the first overview needs, in the background.

    Thousands of files take seconds. A person who gets the page, or its icon in Airflow's navigation, asks for the
    overview next.
    """
    global _warmed  # noqa: PLW0603 - one for each process
    try:
        services = get_services()
    except BatchyError:
        return
    with _lock:
        if _warmed is services:
            return
        _warmed = services

    def read() -> None:
        with contextlib.suppress(Exception):  # the overview itself says what is wrong
            services.workflows.summaries()

    threading.Thread(target=read, name="batchy-warm-up", daemon=True).start()


def _store() -> Store:
    return BatchyHook(patience=RETRY_SECONDS).get_store()


ServicesDep = Annotated[Services, Depends(get_services)]
