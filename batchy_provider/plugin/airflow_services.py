# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The services of this Airflow: its Redis connection, its folder of workflow files, its stores, its audit log."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Annotated

from fastapi import Depends

from batchy_provider.hooks.audit import log_in_airflow
from batchy_provider.hooks.batchy import BatchyHook
from batchy_provider.hooks.deployment import (
    archive_files,
    bundle_cache,
    cfg_folder,
    keeps_archive,
    open_path,
    result_store,
)
from batchy_provider.services.composition import Services

if TYPE_CHECKING:
    from batchy_provider.state.store import Store

PATIENCE_SECONDS = 2.0
"""How long a person waits for a Redis that is away; a task at night waits longer."""

_lock = threading.Lock()
_made: list[Services] = []


def deployment() -> Services:
    """Return the services of this process."""
    with _lock:
        if not _made:
            _made.append(
                Services(
                    store=_store,
                    cfg=cfg_folder(),
                    results=result_store,
                    archive=archive_files if keeps_archive() else None,
                    cache=bundle_cache,
                    audit=log_in_airflow,
                    open_path=open_path,
                    is_server=True,
                )
            )
        return _made[0]


def forget() -> None:
    """Let the next request look up the connection anew; those that are under way keep theirs."""
    with _lock:
        _made.clear()


def _store() -> Store:
    return BatchyHook(patience=PATIENCE_SECONDS).get_store()


Deployment = Annotated[Services, Depends(deployment)]
