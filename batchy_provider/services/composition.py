# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Composition root: build the services from one Redis, one folder of workflow files and one result store."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from batchy_provider.services.foresight_services import ForesightServices

if TYPE_CHECKING:
    from batchy_provider.services.adoption import AdoptionService
    from batchy_provider.services.batch_comparison import ComparisonService
    from batchy_provider.services.batch_history import HistoryService
    from batchy_provider.services.batch_reader import BatchReader
    from batchy_provider.services.batches import BatchService
    from batchy_provider.services.bulk_actions import BulkService
    from batchy_provider.services.duration_history import DurationService
    from batchy_provider.services.executions import ExecutionService
    from batchy_provider.services.fills import FillService
    from batchy_provider.services.gaps import GapService
    from batchy_provider.services.health import HealthService
    from batchy_provider.services.hold_service import HoldService
    from batchy_provider.services.prometheus import PrometheusMetrics
    from batchy_provider.services.retention import RetentionService
    from batchy_provider.services.states import StateService
    from batchy_provider.services.transfer import TransferService
    from batchy_provider.services.uploads import UploadService
    from batchy_provider.services.wait_service import WaitService
    from batchy_provider.services.workflow_history import WorkflowHistoryService
    from batchy_provider.services.workflow_removal import RemovalService
    from batchy_provider.services.workflow_renaming import RenameService
    from batchy_provider.services.workflows import WorkflowService


class Services(ForesightServices):
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

    @cached_property
    def states(self) -> StateService:
        """The state of workflows, without their files."""
        from batchy_provider.services.states import StateService

        return StateService(store=lambda: self.store)

    @cached_property
    def workflows(self) -> WorkflowService:
        """Workflows and their jobs."""
        from batchy_provider.services.workflows import WorkflowService

        return WorkflowService(
            store=lambda: self.store,
            catalog=self.catalog,
            names=self.names,
            audit=self._report,
            scan=self.scan,
            now=self.server_time,
        )

    @cached_property
    def batches(self) -> BatchService:
        """Batches."""
        from batchy_provider.services.batches import BatchService

        return BatchService(
            store=lambda: self.store,
            reader=self._batch_reader,
            names=self.names,
            config=self.workflows.config,
            audit=self._report,
        )

    @cached_property
    def _batch_reader(self) -> BatchReader:
        """Single batches, in Redis or in the archive."""
        from batchy_provider.services.batch_reader import BatchReader

        return BatchReader(lambda: self.store, lambda: self._archive_files)

    @cached_property
    def history(self) -> HistoryService:
        """The batches of all workflows."""
        from batchy_provider.services.batch_history import HistoryService

        return HistoryService(
            store=lambda: self.store, catalog=self.catalog, names=self.names, archive=lambda: self._archive_files
        )

    @cached_property
    def workflow_history(self) -> WorkflowHistoryService:
        """The batches of one workflow."""
        from batchy_provider.services.workflow_history import WorkflowHistoryService

        return WorkflowHistoryService(store=lambda: self.store, history=self.history)

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
    def durations(self) -> DurationService:
        """How long runs take."""
        from batchy_provider.services.duration_history import DurationService

        return DurationService(store=lambda: self.store, catalog=self.catalog)

    @cached_property
    def comparison(self) -> ComparisonService:
        """Comparison of batches."""
        from batchy_provider.services.batch_comparison import ComparisonService

        return ComparisonService(store=lambda: self.store, reader=self._batch_reader, results=lambda: self.results)

    @cached_property
    def holds(self) -> HoldService:
        """Holds on workflows, and notes on batches."""
        from batchy_provider.services.hold_service import HoldService

        return HoldService(store=lambda: self.store, workflows=self.workflows, names=self.names, audit=self._report)

    @cached_property
    def gaps(self) -> GapService:
        """Data that was never loaded."""
        from batchy_provider.services.gaps import GapService

        states = (lambda: self._states) if self._is_server else None
        return GapService(store=lambda: self.store, names=self.names, states=states)

    @cached_property
    def fills(self) -> FillService:
        """Runs that load gaps or ranges."""
        from batchy_provider.services.fills import FillService

        return FillService(
            store=lambda: self.store, config=self.workflows.config, runs=self._dag_runs, audit=self._report
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
            expected_ends=ExpectedEnds(lambda: self.plan, self.catalog, lambda: self.store),
            keeps_states=self._is_server,
        )

    @cached_property
    def health(self) -> HealthService:
        """Checks of Redis and of the result store."""
        from batchy_provider.services.health import HealthService
        from batchy_provider.services.warning_checks import warnings_of

        return HealthService(store=lambda: self.store, more=lambda store: warnings_of(store, self.catalog, self.plan))

    def stop_listening(self) -> None:
        """Stop listening for events and changes, until the services are asked again."""
        self._forget_states()
        if (plan := self.__dict__.get("plan")) is not None:
            plan.close()
