# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Composition root: build the services from one Redis, one folder of workflow files and one result store."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from batchy_provider.exceptions import ConfigError

if TYPE_CHECKING:
    from batchy_provider.archive.archive_files import ArchiveFiles
    from batchy_provider.bundles.bundle_cache import BundleCache
    from batchy_provider.bundles.result_store import ResultStore
    from batchy_provider.bundles.storage import OpenPath
    from batchy_provider.config.catalog import Catalog
    from batchy_provider.services.adoption import AdoptionService
    from batchy_provider.services.answers import Audit, AuditLog
    from batchy_provider.services.archive import ArchiveService
    from batchy_provider.services.batch_comparison import ComparisonService
    from batchy_provider.services.batch_history import HistoryService
    from batchy_provider.services.batches import BatchService
    from batchy_provider.services.bulk_actions import BulkService
    from batchy_provider.services.calendar_days import CalendarDayService
    from batchy_provider.services.due_times import DueTimeService
    from batchy_provider.services.events import Event, EventFeed
    from batchy_provider.services.executions import ExecutionService
    from batchy_provider.services.fill_requests import DagRuns
    from batchy_provider.services.fills import FillService
    from batchy_provider.services.gaps import GapService
    from batchy_provider.services.health import HealthService
    from batchy_provider.services.hold_service import HoldService
    from batchy_provider.services.known_workflows import WorkflowNames
    from batchy_provider.services.plan_answers import PlanService
    from batchy_provider.services.plan_inputs import LostTriesReader
    from batchy_provider.services.prometheus import PrometheusMetrics
    from batchy_provider.services.retention import RetentionService
    from batchy_provider.services.states import StateService
    from batchy_provider.services.tonight_answers import TonightService
    from batchy_provider.services.transfer import TransferService
    from batchy_provider.services.uploads import UploadService
    from batchy_provider.services.wait_service import WaitService
    from batchy_provider.services.warning_service import WarningService
    from batchy_provider.services.why_answers import AirflowReader, WhyService
    from batchy_provider.services.workflow_removal import RemovalService
    from batchy_provider.services.workflow_renaming import RenameService
    from batchy_provider.services.workflows import WorkflowService
    from batchy_provider.state.store import Store


class Services:
    """Build each service when it is first used, and hand it what it needs.

    The command line and the REST API make one object of this class, and call its services. To make it opens nothing. No
    service knows this class. Threads may share it if they may share the client of the store.

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

        return Catalog(self.cfg)

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
            if event == BACK or event.get("event") in ("remove", "rename"):
                self.names.expire()
            elif isinstance(name := event.get("workflow"), str):
                self.names.add(name)

        return EventFeed(lambda: self.store, learn_name)

    @cached_property
    def states(self) -> StateService:
        """The state of workflows, without their files."""
        from batchy_provider.services.states import StateService

        return StateService(store=lambda: self.store)

    @cached_property
    def workflows(self) -> WorkflowService:
        """Workflows and their jobs."""
        from batchy_provider.services.workflows import WorkflowService

        return WorkflowService(store=lambda: self.store, catalog=self.catalog, names=self.names, audit=self._report)

    @cached_property
    def batches(self) -> BatchService:
        """Batches."""
        from batchy_provider.services.batches import BatchService

        return BatchService(
            store=lambda: self.store, names=self.names, config=self.workflows.config, audit=self._report
        )

    @cached_property
    def history(self) -> HistoryService:
        """The batches of all workflows."""
        from batchy_provider.services.batch_history import HistoryService

        return HistoryService(
            store=lambda: self.store, catalog=self.catalog, names=self.names, archive=lambda: self._archive_files
        )

    @cached_property
    def bulk(self) -> BulkService:
        """Actions on many workflows at once."""
        from batchy_provider.services.bulk_actions import BulkService

        return BulkService(
            store=lambda: self.store,
            workflows=lambda: self.workflows,
            archive=lambda: self.archive,
            audit=self._report,
        )

    @cached_property
    def comparison(self) -> ComparisonService:
        """Comparison of batches."""
        from batchy_provider.services.batch_comparison import ComparisonService

        return ComparisonService(store=lambda: self.store, results=lambda: self.results)

    @cached_property
    def holds(self) -> HoldService:
        """Holds on workflows, and notes on batches."""
        from batchy_provider.services.hold_service import HoldService

        return HoldService(store=lambda: self.store, workflows=self.workflows, names=self.names, audit=self._report)

    @cached_property
    def gaps(self) -> GapService:
        """Data that was never loaded."""
        from batchy_provider.services.gaps import GapService

        return GapService(store=lambda: self.store, names=self.names)

    @cached_property
    def fills(self) -> FillService:
        """Runs that load gaps or ranges."""
        from batchy_provider.services.fills import FillService

        return FillService(
            store=lambda: self.store, config=self.workflows.config, runs=self._dag_runs, audit=self._report
        )

    @cached_property
    def due_times(self) -> DueTimeService:
        """When workflows are due."""
        from batchy_provider.services.due_times import DueTimeService

        return DueTimeService(store=lambda: self.store, catalog=self.catalog, names=self.names, runs=self._dag_runs)

    @cached_property
    def calendar_days(self) -> CalendarDayService:
        """The days of calendars, with fires and runs."""
        from batchy_provider.services.calendar_days import CalendarDayService

        return CalendarDayService(store=lambda: self.store, due_times=self.due_times)

    @cached_property
    def why(self) -> WhyService:
        """Why workflows are not running, or not done, and who is affected."""
        from batchy_provider.services.failed_output import FailedOutput
        from batchy_provider.services.lost_state import LostState
        from batchy_provider.services.why_answers import WhyService

        return WhyService(
            store=lambda: self.store,
            catalog=self.catalog,
            names=self.names,
            failed_output=FailedOutput(lambda: self.results),
            lost_state=LostState(lambda: self.archive),
            airflow=self._airflow,
            chances=self.plan.chances,
        )

    @cached_property
    def plan(self) -> PlanService:
        """The expected runs of the next hours."""
        from batchy_provider.services.plan_answers import PlanService

        return PlanService(
            store=lambda: self.store,
            catalog=self.catalog,
            names=self.names,
            airflow=self._airflow,
            lost_tries=self._lost_tries,
            events=(lambda: self.events) if self._is_server else None,
        )

    @cached_property
    def tonight(self) -> TonightService:
        """The runs of a night on one time axis."""
        from batchy_provider.services.tonight_answers import TonightService

        return TonightService(store=lambda: self.store, catalog=self.catalog, names=self.names, plan=self.plan)

    @cached_property
    def warnings(self) -> WarningService:
        """Warnings about deadlines that will probably be missed."""
        from batchy_provider.services.warning_service import WarningService

        return WarningService(
            store=lambda: self.store, catalog=self.catalog, names=self.names, plan=self.plan, why=self.why
        )

    @cached_property
    def waits(self) -> WaitService:
        """Waits for the success of workflows."""
        from batchy_provider.services.wait_service import WaitService

        return WaitService(store=lambda: self.store, events=lambda: self.events)

    @cached_property
    def executions(self) -> ExecutionService:
        """Executions and their results."""
        from batchy_provider.services.executions import ExecutionService

        return ExecutionService(
            results=lambda: self.results, cfg=self.cfg, open_path=self._open_path, is_server=self._is_server
        )

    @cached_property
    def archive(self) -> ArchiveService | None:
        """The archive of closed batches; None without an archive."""
        from batchy_provider.services.archive import ArchiveService

        files = self._archive_files
        return None if files is None else ArchiveService(self.store, files, self.results, audit=self._report)

    @cached_property
    def _archive_files(self) -> ArchiveFiles | None:
        """The files of the archive; None without an archive."""
        return None if self._make_archive is None else self._make_archive()

    @cached_property
    def removal(self) -> RemovalService:
        """Removal of workflows."""
        from batchy_provider.services.workflow_removal import RemovalService

        return RemovalService(
            store=lambda: self.store,
            catalog=self.catalog,
            names=self.names,
            results=lambda: None if self._make_results is None else self.results,
            archive=lambda: self._archive_files,
            audit=self._report,
        )

    @cached_property
    def renaming(self) -> RenameService:
        """New names for workflows."""
        from batchy_provider.services.workflow_renaming import RenameService

        return RenameService(
            store=lambda: self.store,
            catalog=self.catalog,
            names=self.names,
            archive=lambda: self._archive_files,
            results=lambda: None if self._make_results is None else self.results,
            audit=self._report,
        )

    @cached_property
    def transfer(self) -> TransferService:
        """Export and import of workflows."""
        from batchy_provider.services.transfer import TransferService

        return TransferService(
            store=lambda: self.store,
            names=self.names,
            archive=lambda: (self._archive_files, self.archive),
            audit=self._report,
        )

    @cached_property
    def retention(self) -> RetentionService:
        """Removal of old batches."""
        from batchy_provider.services.retention import RetentionService

        return RetentionService(store=lambda: self.store, results=lambda: self.results, archive=lambda: self.archive)

    @cached_property
    def uploads(self) -> UploadService:
        """New workflow files and bundles."""
        from batchy_provider.services.uploads import UploadService

        return UploadService(catalog=self.catalog, audit=self._report)

    @cached_property
    def adoption(self) -> AdoptionService:
        """Taking over the history of the original server."""
        from batchy_provider.services.adoption import AdoptionService

        return AdoptionService(store=lambda: self.store, audit=self._report)

    @cached_property
    def metrics(self) -> PrometheusMetrics:
        """The state of all workflows as metrics."""
        from batchy_provider.services.deadline_metrics import ExpectedEnds
        from batchy_provider.services.prometheus import PrometheusMetrics

        return PrometheusMetrics(
            store=lambda: self.store,
            workflows=self.workflows,
            gaps=self.gaps,
            expected_ends=ExpectedEnds(self.plan, self.catalog),
        )

    @cached_property
    def health(self) -> HealthService:
        """Checks of Redis and of the result store."""
        from batchy_provider.services.health import HealthService
        from batchy_provider.services.warning_checks import warnings_of

        return HealthService(store=lambda: self.store, more=lambda store: warnings_of(store, self.catalog, self.plan))

    def _report(self, entry: Audit) -> None:
        """Pass a change on to the log of this deployment."""
        if self._audit is not None:
            self._audit(entry)

    def close(self) -> None:
        """Close the connection to Redis, if one was made, and stop listening for events."""
        self.stop_listening()
        with self._lock:
            store, self._store = self._store, None
        if store is not None:
            store.backend.client.close()

    def stop_listening(self) -> None:
        """Stop listening for events, until the plan is asked for again."""
        if (plan := self.__dict__.get("plan")) is not None:
            plan.close()
