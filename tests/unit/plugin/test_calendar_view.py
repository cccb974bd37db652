# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The view *Calendar* in a real browser: what a person sees, what a screen reader says, and what the keys do."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import date, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from api_server import Api, token
from axe_playwright_python.sync_playwright import Axe
from browser import SCREENSHOTS
from playwright.sync_api import Browser, Page, expect

from batchy_provider.core.calendars import Calendar
from batchy_provider.core.schedules import DayRule, Days, Move, Schedule
from batchy_provider.core.values import CloseRequest, OpenRequest, WorkflowConfig
from batchy_provider.plugin import airflow_services

pytestmark = pytest.mark.slow

PLACE = "Europe/Berlin"
View = Callable[..., Page]


@pytest.fixture
def view(api: Api, served: str, browser: Browser) -> Iterator[View]:
    """Open the calendar of a workflow in a browser that is logged in."""

    def open_view(workflow: str, **options: object) -> Page:
        context = browser.new_context(**{"viewport": {"width": 1400, "height": 1000}, **options})
        context.add_cookies([{"name": "_token", "value": token("admin"), "url": served}])
        page = context.new_page()
        page.goto(f"{served}/batchy/page#/workflows/{workflow}/calendar")
        page.locator("table.month").first.wait_for()
        return page

    yield open_view
    for context in browser.contexts:
        context.close()


def today() -> date:
    return datetime.now(timezone.utc).astimezone(ZoneInfo(PLACE)).date()


def some_weekday(after: int) -> date:
    """Return a day from Monday to Friday, so many days from now at least."""
    day = today() + timedelta(days=after)
    return day + timedelta(days=max(0, 7 - day.weekday()) if day.weekday() > 4 else 0)


def long_day(day: date) -> str:
    return f"{day:%A} {day.day} {day:%B} {day.year}"


def remember(schedule: Schedule, *results: str) -> None:
    """Let Redis have a workflow `close` with this schedule, and batches that ended like this."""
    config = WorkflowConfig(name="close", jobs={"a": {}}, timezone=PLACE, schedule=schedule)
    store = airflow_services.get_services().store
    for result in results or ("success",):
        batch = store.open("close", OpenRequest(config=config))
        store.close("close", CloseRequest(result=result, batch_id=batch.batch_id))


@pytest.fixture
def closed() -> date:
    """A day on which the company is closed."""
    return some_weekday(5)


@pytest.fixture
def business_days(closed: date) -> Schedule:
    """Each business day at 18:30."""
    calendar = Calendar(name="munich", add=frozenset({closed}))
    on = DayRule(days=Days.BUSINESS_DAYS)
    return Schedule(crons=("30 18 * * *",), timezone=PLACE, calendar=calendar, on=on)


def test_fires_holidays_and_runs_are_seen_and_said(view: View, business_days: Schedule, closed: date) -> None:
    remember(business_days, "success", "failed")
    page = view("close", timezone_id="America/New_York")
    expect(page.get_by_text(f"All days and times are in {PLACE}")).to_be_visible()
    expect(page.get_by_text("Calendar: munich.")).to_be_visible()
    expect(page.locator("table.month")).to_have_count(4)
    expect(page.locator("table.month").first.locator("thead th").first).to_have_text("Mo")

    out = page.locator(f'[data-day="{closed}"]')
    expect(out).to_have_accessible_name(re.compile(f"^{long_day(closed)}; .*left out: added to munich"))
    expect(out).to_have_class(re.compile("left-out"))
    out.hover()
    expect(page.locator(".detail")).to_contain_text("added to munich")

    due = page.locator(f'[data-day="{some_weekday(12)}"]')
    expect(due).to_have_accessible_name(re.compile(r"due at 18:30 \(\+0[12]:00\)$"))
    expect(due).to_contain_text("18:30")

    # Today counts as its last run.
    run = page.locator(f'[data-day="{today()}"]')
    expect(run).to_have_class(re.compile("failed"))
    expect(run).to_have_accessible_name(re.compile(r"today; .*2 runs: 1 success, 1 failed"))
    expect(run).to_contain_text("✗")
    run.click()
    expect(page.locator(".detail li")).to_have_count(2)
    page.locator(".detail a").last.click()
    expect(page.get_by_role("heading", name="Batch")).to_be_visible()


def test_a_moved_fire_says_where_it_comes_from(view: View, closed: date) -> None:
    calendar = Calendar(name="munich", add=frozenset({closed}))
    cron = f"0 9 {closed.day} {closed.month} *"
    remember(Schedule(crons=(cron,), timezone=PLACE, calendar=calendar, move=Move.NEXT))
    following = calendar.business_day(closed, 1)
    assert following is not None
    page = view("close")
    moved = page.locator(f'[data-day="{following}"]')
    expect(moved).to_have_accessible_name(re.compile(f"due at 09:00 .*moved from {closed:%a} {closed.day} {closed:%b}"))
    left = page.locator(f'[data-day="{closed}"]')
    expect(left).to_have_accessible_name(
        re.compile(f"moved to {following:%a} {following.day} {following:%b}: added to")
    )


def test_the_keys_go_from_day_to_day(view: View, business_days: Schedule) -> None:
    remember(business_days)
    page = view("close")
    start = today()
    page.locator(f'[data-day="{start}"]').focus()
    for key, day in (
        ("ArrowRight", start + timedelta(days=1)),
        ("ArrowDown", start + timedelta(days=8)),
        ("ArrowLeft", start + timedelta(days=7)),
        ("ArrowUp", start),
        ("Home", start - timedelta(days=start.weekday())),
        ("End", start + timedelta(days=6 - start.weekday())),
    ):
        page.keyboard.press(key)
        expect(page.locator(f'[data-day="{day}"]')).to_be_focused()
    expect(page.locator(".detail")).to_contain_text(long_day(start + timedelta(days=6 - start.weekday())))
    # One stop of Tab, wherever the focus is in it.
    assert page.locator('.months [tabindex="0"]').count() == 1
    for _ in range(6):
        page.keyboard.press("PageDown")
    last = page.locator("[data-day]").last.get_attribute("data-day")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    for _ in range(5):
        page.keyboard.press("ArrowDown")
    expect(page.locator(f'[data-day="{last}"]')).to_be_focused()


def test_it_is_for_everybody_light_dark_and_narrow(view: View, business_days: Schedule) -> None:
    remember(business_days, "success", "failed")
    found = {}
    for scheme in ("light", "dark"):
        page = view("close", color_scheme=scheme)
        violations = Axe().run(page).response["violations"]
        found[scheme] = [f"{each['id']}: {each['nodes'][0]['html'][:200]}" for each in violations]
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=SCREENSHOTS / f"calendar-{scheme}.png")
    assert found == {"light": [], "dark": []}
    phone = view("close", viewport={"width": 360, "height": 800}, has_touch=True)
    assert phone.evaluate("document.documentElement.scrollWidth <= innerWidth")
    day = some_weekday(8)
    phone.locator(f'[data-day="{day}"]').tap()
    expect(phone.locator(".detail")).to_contain_text(long_day(day))
    expect(phone.locator(".detail")).to_be_in_viewport()


def test_a_workflow_by_hand_says_so(api: Api, view: View) -> None:
    (api.cfg / "by_hand.yaml").write_text('jobs: {load: {bash: "true"}}\n')
    page = view("by_hand")
    note = "by_hand has no schedule: only people and programs start it."
    expect(page.get_by_text(note, exact=True)).to_be_visible()
