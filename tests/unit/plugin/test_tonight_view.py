# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The page Tonight in a real browser: runs on a time axis, what decides their end, filters in the address, a phone."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone

import pytest
from api_server import Api, token
from axe_playwright_python.sync_playwright import Axe
from browser import SCREENSHOTS
from playwright.sync_api import Browser, Page, expect

from batchy_provider.core.values import CloseRequest, Holder, OpenRequest, WorkflowConfig
from batchy_provider.plugin import airflow_services

pytestmark = pytest.mark.slow

VIEW = "tonight?span=long&search=tonight_"
View = Callable[..., Page]


@pytest.fixture
def view(api: Api, served: str, browser: Browser) -> Iterator[View]:
    """Open the page in a browser that is logged in; in the end nothing has failed in it."""
    night(api)
    faults: list[str] = []

    def open_view(**options: object) -> Page:
        given = {"viewport": {"width": 1400, "height": 900}, "timezone_id": "Europe/Berlin", "locale": "en-GB"}
        context = browser.new_context(**{**given, **options})
        context.set_default_timeout(60_000)
        context.add_cookies([{"name": "_token", "value": token("admin"), "url": served}])
        page = context.new_page()
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.goto(f"{served}/batchy/page#/{VIEW}")
        page.locator(".axis-row, .night-list li").first.wait_for()
        return page

    yield open_view
    for context in browser.contexts:
        context.close()
    assert not faults


def night(api: Api) -> None:
    """``tonight_erp`` runs, ``tonight_sales`` is due in two hours and waits for it, ``tonight_hr`` has failed."""
    due = datetime.now(timezone.utc) + timedelta(hours=2)
    schedule = f'schedule: "{due:%M} {due:%H} * * *"\n'
    job = 'jobs: {load: {bash: "true"}}\n'
    files = {
        "tonight_erp": f"{schedule}owner: finance\n{job}",
        "tonight_sales": f"{schedule}owner: sales\nwait_for: [{{workflow: tonight_erp, scope: due}}]\n{job}",
        "tonight_hr": f"schedule: null\nowner: hr\n{job}",
        "tonight_idle": f"schedule: null\n{job}",
    }
    for name, text in files.items():
        (api.cfg / f"{name}.yaml").write_text(text)
    store = airflow_services.get_services().store
    for name, results in (("tonight_erp", "sssso"), ("tonight_sales", "ssss"), ("tonight_hr", "sf")):
        for number, result in enumerate(results):
            config = WorkflowConfig(name=name, jobs={"load": {}})
            batch = store.open(name, OpenRequest(config=config, holder=Holder(by="nightly")))
            took = {"load": 3600.0 + 600 * number}
            if result != "o":
                end = "success" if result == "s" else "failed"
                store.close(name, CloseRequest(result=end, batch_id=batch.batch_id, by="nightly", seconds=took))


def photograph(page: Page, name: str) -> None:
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"{name}.png")


def barriers(page: Page) -> list[str]:
    """Return what axe-core finds serious in the page."""
    found = Axe().run(page).response["violations"]
    return [f"{each['id']}: {each['nodes'][0]['html'][:200]}" for each in found if each["impact"] != "minor"]


def bar(page: Page, name: str) -> str:
    return f'.axis-row:has(a[title="{name}"]) .bar'


def test_a_run_shows_its_end_what_decides_it_and_who_is_affected(view: View) -> None:
    page = view()
    running = page.locator(f"{bar(page, 'tonight_erp')}.open")
    expect(running).to_have_attribute(
        "aria-label", re.compile(r"Running since .*probably done at .* in 9 of 10 nights")
    )
    expect(page.get_by_text("Times in Europe/Berlin (UTC+0")).to_be_visible()
    # The keyboard leads to a bar, and from bar to bar. What has the focus says its times.
    page.get_by_label("Search workflows").focus()
    for _ in range(10):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.classList.contains('bar')"):
            break
    else:
        raise AssertionError("Tab never came to a bar")
    expect(page.locator(".axis-tip")).to_be_visible()
    sales = page.locator(f"{bar(page, 'tonight_sales')}.expected").first
    for key in ["ArrowDown"] * 3 + ["ArrowRight"] * 6:
        if sales.evaluate("each => each === document.activeElement"):
            break
        in_row = sales.evaluate("each => each.dataset.row === document.activeElement.dataset.row")
        page.keyboard.press("ArrowRight" if in_row else key)
    expect(sales).to_be_focused()
    page.keyboard.press("Enter")
    details = page.get_by_role("region", name="tonight_sales: the run that you have chosen")
    expect(details).to_contain_text("Waits for tonight_erp.")
    expect(details).to_contain_text("What decides its end")
    expect(details.get_by_role("listitem").first).to_contain_text("tonight_erp")
    expect(page.locator(".axis-row.upstream")).to_contain_text("tonight_erp")
    page.keyboard.press("Escape")
    expect(details).to_be_hidden()
    expect(sales).to_be_focused()
    running.click()
    affected = page.get_by_role("region", name="tonight_erp: the run that you have chosen")
    expect(affected.get_by_role("link", name="tonight_sales")).to_be_visible()
    photograph(page, "tonight")


def test_the_address_keeps_filters_and_the_chosen_run(view: View) -> None:
    page = view()
    rows = page.locator(".axis-row")
    expect(rows).to_have_count(4)  # tonight_idle has no run, and is found by its name
    page.get_by_role("button", name="Only with problems").click()
    expect(rows).to_have_count(1)
    expect(rows).to_contain_text("failed")
    assert "problems=true" in page.url
    page.locator(f"{bar(page, 'tonight_hr')}.failed").click()
    expect(page.get_by_role("region", name="tonight_hr: the run")).to_contain_text("Failed: load")
    page.reload()
    expect(page.get_by_role("region", name="tonight_hr: the run")).to_contain_text("Failed: load")
    expect(rows).to_have_count(1)
    page.get_by_role("button", name="Close").click()
    page.get_by_role("button", name="Only with problems").click()
    page.get_by_label("Groups").select_option("owner")
    expect(page.get_by_role("heading", name="finance")).to_be_visible()
    assert "group=owner" in page.url
    page.go_back()
    expect(page.get_by_role("heading", name="finance")).to_be_hidden()
    page.get_by_label("Search workflows").fill("nobody has this name")
    expect(page.get_by_text("No workflow has “nobody has this name”")).to_be_visible()


def test_tonight_is_a_list_on_a_phone_and_has_no_barriers(view: View) -> None:
    found = {}
    for scheme in ("light", "dark"):
        page = view(color_scheme=scheme)
        page.locator(".bar.open").first.click()
        page.get_by_role("heading", name="Who is affected").wait_for()
        found[scheme] = barriers(page)
        page.set_viewport_size({"width": 390, "height": 844})
        page.locator(".night-list").wait_for()
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        expect(page.locator(".night-run.open").first).to_contain_text("in 9 of 10 nights")
        found[f"{scheme}, phone"] = barriers(page)
        photograph(page, f"tonight-phone-{scheme}")
    assert {where: each for where, each in found.items() if each} == {}
