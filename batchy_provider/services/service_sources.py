# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""What all services work on: one Redis, one folder of workflow files, one result store and one archive."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from batchy_provider.exceptions import ConfigError

if TYPE_CHECKING:
    from datetime import datetime

    from batchy_provider.archive.archive_files import ArchiveFiles
    from batchy_provider.bundles.bundle_cache import BundleCache
    from batchy_provider.bundles.result_store import ResultStore
    from batchy_provider.bundles.storage import OpenPath
    from batchy_provider.config.catalog import Catalog
    from batchy_provider.core.workflow_state import UnreadableWorkflow, WorkflowState
    from batchy_provider.services.answers import Audit, AuditLog
    from batchy_provider.services.archive import ArchiveService
    from batchy_provider.services.events import Event, EventFeed
    from batchy_provider.services.fill_requests import DagRuns
    from batchy_provider.services.known_workflows import WorkflowNames
    from batchy_provider.services.plan_inputs import LostTriesReader
    from batchy_provider.services.why_answers import AirflowReader
    from batchy_provider.state.state_cache import StateCache
    from batchy_provider.state.store import Store


class ServiceSources:
    """Make each source when it is first used, and one of each kind.

    :param store: makes or returns the store of batches.
    :param cfg: folder of the workflow files; it may not exist.
    :param results: returns the result store.
    :param archive: returns the archive of closed batches; None without an archive.
    :param cache: returns the bundle cache.
    :param dag_runs: the runs of this Airflow; None where there is none.
    :param airflow: reads what this Airflow knows of DAGs; None where there is none.
    :param lost_tries: reads how much time jobs lost by tries that failed; None where there is no Airflow.
    :param open_path: from the path or URL of a bundle to an object with the `pathlib` API.
    :param is_server: this process serves other users than its own. They get local files only from below `cfg`, and
        not through links that lead out of it.
    :param audit: called with each change after it is made, for a log beside the one in Redis.
    """

    def __init__(
        self,
        *,
        store: Callable[[], Store],
        cfg: Path | None = None,
        results: Callable[[], ResultStore] | None = None,
        archive: Callable[[], ArchiveFiles] | None = None,
        cache: Callable[[], BundleCache] | None = None,
        audit: AuditLog | None = None,
        dag_runs: DagRuns | None = None,
        airflow: AirflowReader | None = None,
        lost_tries: LostTriesReader | None = None,
        open_path: OpenPath = Path,
        is_server: bool = False,
    ) -> None:
        self._make_store = store
        self._make_results = results
        self._make_archive = archive
        self._make_cache = cache
        self._audit = audit
        self._dag_runs = dag_runs
        self._airflow = airflow
        self._lost_tries = lost_tries
        self._lock = threading.Lock()
        self._store: Store | None = None
        self.cfg = cfg if cfg is not None else Path("cfg")
        self._open_path = open_path
        self._is_server = is_server

    @property
    def store(self) -> Store:
        """The state in Redis."""
        with self._lock:
            if self._store is None:
                self._store = self._make_store()
            return self._store

    @cached_property
    def _states(self) -> StateCache:
        """The state of many workflows, of which only what has changed is read."""
        from batchy_provider.state.state_cache import StateCache

        return StateCache(lambda: self.store)

    def scan(self, names: Collection[str]) -> list[WorkflowState | UnreadableWorkflow]:
        """Return the state of those of some workflows that Redis has, sorted by name; see `Store.scan`.

        A server is asked often, so it keeps what it has read, and reads only what has changed since.
        """
        return self._states.scan(names) if self._is_server else self.store.scan(names)

    def server_time(self) -> datetime:
        """Return the time of the Redis server, naive UTC."""
        known = self._states.server_time() if self._is_server else None
        return self.store.backend.server_time() if known is None else known

    @cached_property
    def results(self) -> ResultStore:
        """The results of executions."""
        if self._make_results is None:
            raise ConfigError("there is no result store")
        return self._make_results()

    @cached_property
    def cache(self) -> BundleCache:
        """The unpacked bundles of this machine."""
        if self._make_cache is None:
            raise ConfigError("there is no bundle cache")
        return self._make_cache()

    @cached_property
    def catalog(self) -> Catalog:
        """The workflow files."""
        from batchy_provider.config.catalog import Catalog

        return Catalog(self.cfg, remembers=self._is_server)

    @cached_property
    def names(self) -> WorkflowNames:
        """The workflows that Redis knows."""
        from batchy_provider.services.known_workflows import WorkflowNames

        return WorkflowNames(lambda: self.store)

    @cached_property
    def events(self) -> EventFeed:
        """Events of batches, as they happen."""
        from batchy_provider.services.events import BACK, EventFeed

        def learn_name(event: Event) -> None:
            name, what = event.get("workflow"), event.get("event")
            if event == BACK:
                self.names.expire()
            elif isinstance(name, str) and what == "remove":
                self.names.remove(name)
            elif isinstance(name, str):
                self.names.add(name)
                if what == "rename":  # the event does not tell whether this is the old name or the new one
                    self.names.renew()

        return EventFeed(lambda: self.store, learn_name)

    @cached_property
    def _archive_files(self) -> ArchiveFiles | None:
        """The files of the archive; None without an archive."""
        return None if self._make_archive is None else self._make_archive()

    @cached_property
    def archive(self) -> ArchiveService | None:
        """The archive of closed batches; None without an archive."""
        from batchy_provider.services.archive import ArchiveService

        files = self._archive_files
        return None if files is None else ArchiveService(self.store, files, self.results, audit=self._report)

    def _report(self, entry: Audit) -> None:
        """Pass a change on to the log of this deployment."""
        if self._audit is not None:
            self._audit(entry)

    def close(self) -> None:
        """Close the connections to Redis that were made."""
        self._forget_states()
        with self._lock:
            store, self._store = self._store, None
        if store is not None:
            store.backend.client.close()

    def _forget_states(self) -> None:
        if (states := self.__dict__.get("_states")) is not None:
            states.close()
