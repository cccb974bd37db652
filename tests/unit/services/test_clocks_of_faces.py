# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""All faces go by the clock of the Redis server: also one on a machine whose clock is days off says how late it is."""

from __future__ import annotations

from warned_nights import Night


def test_all_faces_say_how_late_it_is_by_the_clock_of_redis(late: Night) -> None:
    """The clock of Redis stands at another day than that of this machine."""
    late.tonight(6, 30)
    services = late.services
    listed = {row.workflow: row.late_seconds for row in services.workflows.summaries()}
    shown = {row.workflow: row.late_seconds for row in services.tonight.show(services.tonight.span()).items}
    assert listed == shown == {"crm": None, "sales": 1800}
    assert services.workflows.get("sales").summary.late_seconds == 1800
    assert 'batchy_workflow_late_seconds{workflow="sales"} 1800' in services.metrics.exposition()[0].splitlines()
    assert services.workflows.get("sales").summary.deadline == "2026-11-26T06:00:00.000000"


def test_the_calendar_begins_today_by_the_clock_of_redis(late: Night) -> None:
    assert late.services.calendar_days.of("sales").today == "2026-11-26"
