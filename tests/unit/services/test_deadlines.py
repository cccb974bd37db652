# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Which deadline counts, and since when it is missed."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchy_provider.config.model import WorkflowModel
from batchy_provider.config.workflow import Workflow
from batchy_provider.core.dates import format_date
from batchy_provider.services.deadlines import DeadlineCache, deadline_of

NOTIFY = [{"notifier": "airflow.providers.smtp.notifications.smtp.SmtpNotifier"}]


def nightly(**keys: object) -> WorkflowModel:
    """Due at 02:00 in Paris, which is 01:00 UTC in winter; to be closed by 06:00."""
    given = {"schedule": "0 2 * * *", "timezone": "Europe/Paris", "deadline": {"closed_by": "06:00", "notify": NOTIFY}}
    return WorkflowModel.model_validate({"jobs": {"load": {"bash": "true"}}, **given, **keys})


@pytest.mark.parametrize(
    ("now", "last_success", "at", "late"),
    [
        # Tonight's run is due, and can still be met.
        ("2026-01-10T03:00", "2026-01-09T02:30", "2026-01-10T05:00", None),
        # It has succeeded: nothing counts until the next one is due.
        ("2026-01-10T03:00", "2026-01-10T02:30", None, None),
        ("2026-01-10T23:00", "2026-01-10T02:30", None, None),
        # It was missed, and stays so until a success.
        ("2026-01-10T05:00", "2026-01-09T02:30", "2026-01-10T05:00", 0),
        ("2026-01-10T06:00", "2026-01-09T02:30", "2026-01-10T05:00", 3600),
        # Yesterday's was missed too: while tonight's may still come, it is yesterday's that is late.
        ("2026-01-11T02:00", "2026-01-09T02:30", "2026-01-10T05:00", 21 * 3600),
        # Never yet.
        ("2026-01-10T06:00", None, "2026-01-10T05:00", 3600),
        # In summer the clock is an hour ahead.
        ("2026-07-10T04:30", "2026-07-09T02:30", "2026-07-10T04:00", 1800),
    ],
)
def test_the_deadline_that_counts(now: str, last_success: str | None, at: str | None, late: int | None) -> None:
    found = deadline_of(nightly(), last_success, datetime.fromisoformat(now))
    if at is None:
        assert found is None
    else:
        assert found is not None
        assert found == (format_date(datetime.fromisoformat(at)), late)


def test_nothing_is_late_that_was_not_due_yet() -> None:
    model = nightly(start_date="2026-01-10")
    assert deadline_of(model, None, datetime(2026, 1, 10, 0, 30)) is None
    assert deadline_of(model, None, datetime(2026, 1, 10, 6)) is not None


def test_without_a_deadline_or_a_schedule_nothing_is_late() -> None:
    assert deadline_of(nightly(deadline=None), None, datetime(2026, 1, 10)) is None
    by_hand = nightly(schedule=None, deadline={"within": "2h", "notify": NOTIFY})
    assert deadline_of(by_hand, None, datetime(2026, 1, 10)) is None


@given(
    now=st.datetimes(datetime(2026, 1, 1), datetime(2027, 1, 1)),
    since=st.timedeltas(timedelta(0), timedelta(days=4)),
    hours=st.integers(1, 60),
)
def test_late_is_what_has_passed_and_early_is_what_is_ahead(now: datetime, since: timedelta, hours: int) -> None:
    model = nightly(deadline={"within": f"{hours}h", "notify": NOTIFY})
    found = deadline_of(model, format_date(now - since), now)
    if found is not None:
        at = datetime.fromisoformat(found.at)
        assert (found.late_seconds is None) == (at > now)
        # The run that it is of was due after the last success.
        assert at - timedelta(hours=hours) > now - since


@given(
    start=st.datetimes(datetime(2026, 1, 1), datetime(2026, 12, 1)),
    steps=st.lists(st.tuples(st.timedeltas(-timedelta(hours=2), timedelta(hours=20)), st.booleans()), max_size=8),
    hours=st.integers(1, 60),
)
def test_a_deadline_that_is_kept_is_the_one_that_would_be_found_now(
    start: datetime, steps: list[tuple[timedelta, bool]], hours: int
) -> None:
    model = nightly(deadline={"within": f"{hours}h", "notify": NOTIFY})
    workflow, cache = Workflow(name="sales", path=Path("sales.yaml"), model=model), DeadlineCache()
    now, last_success = start, None
    for step, succeeds in steps:
        now += step
        last_success = format_date(now) if succeeds else last_success
        kept = cache.find(workflow, last_success, now).deadline(now)
        assert kept == deadline_of(model, last_success, now, workflow.schedule)
