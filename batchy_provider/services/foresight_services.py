# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The services that look ahead: when workflows are due, why they are not done, and when they will be."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from batchy_provider.services.service_sources import ServiceSources

if TYPE_CHECKING:
    from batchy_provider.services.calendar_days import CalendarDayService
    from batchy_provider.services.due_times import DueTimeService
    from batchy_provider.services.plan_answers import PlanService
    from batchy_provider.services.tonight_answers import TonightService
    from batchy_provider.services.warning_service import WarningService
    from batchy_provider.services.why_answers import WhyService


class ForesightServices(ServiceSources):
    """Build each service that looks ahead when it is first used."""

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
            scan=self.scan,
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
            scan=self.scan,
        )

    @cached_property
    def tonight(self) -> TonightService:
        """The runs of a night on one time axis."""
        from batchy_provider.services.tonight_answers import TonightService

        return TonightService(
            store=lambda: self.store,
            catalog=self.catalog,
            names=self.names,
            plan=self.plan,
            states=(lambda: self._states) if self._is_server else None,
        )

    @cached_property
    def warnings(self) -> WarningService:
        """Warnings about deadlines that will probably be missed."""
        from batchy_provider.services.warning_service import WarningService

        return WarningService(
            store=lambda: self.store, catalog=self.catalog, names=self.names, plan=self.plan, why=self.why
        )

    def close(self) -> None:
        """Close the connection to Redis, if one was made, and stop listening for events."""
        if (plan := self.__dict__.get("plan")) is not None:
            plan.close()
        super().close()
