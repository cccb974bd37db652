# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""A real Chromium on the page: logged in to Airflow, watched for errors, photographed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from airflow.api_fastapi.auth.managers.base_auth_manager import COOKIE_NAME_JWT_TOKEN
from airflow_host import SharedStack
from axe_playwright_python.sync_playwright import Axe
from night_client import new_token
from playwright.sync_api import Browser, FrameLocator, Page, expect, sync_playwright

from batchy_provider.local.stack import LocalStack

SCREENSHOTS = Path(os.environ.get("BATCHY_TEST_SCREENSHOTS") or Path(__file__).parents[2] / ".batchy" / "screenshots")
# The headless shell has the same engine without the windows, menus and services of a whole browser, which nobody sees
# here: it takes half of the processor time.
_PROGRAMS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome", "chrome")
# It may not look for its makers' hosts, and runs as root in containers.
_ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
_HARMLESS = ("An iframe which has both allow-scripts and allow-same-origin",)
_SERIOUS = ("serious", "critical")

expect.set_options(timeout=30_000)  # a busy machine takes longer than the five seconds of the default


@contextmanager
def chromium() -> Iterator[Browser]:
    """
    Start a Chromium.

    Skips the test where there is none, unless CI=true: there one must be.
    """
    program = next(filter(None, map(shutil.which, _PROGRAMS)), None)
    if program is None:
        if os.environ.get("CI") == "true":
            pytest.fail(f"CI=true needs a browser: one of {', '.join(_PROGRAMS)}")
        pytest.skip(f"no browser here: one of {', '.join(_PROGRAMS)}")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=list(_ARGUMENTS))
        yield browser
        browser.close()


class Reader:
    """
    A person who is logged in, with Airflow's UI before them.

    :param stack: the Airflow.
    :param by_form: log in as a person does, by Airflow's form, and stay on Airflow's first page. Otherwise the browser
        has the cookie that the form would set: Airflow's first page takes seconds of processor time.
    :param options: of Playwright's browser context, such as ``color_scheme``.
    """

    def __init__(
        self, browser: Browser, stack: LocalStack | SharedStack, *, by_form: bool = False, **options: Any
    ) -> None:
        options = {
            "viewport": {"width": 1400, "height": 900},
            "timezone_id": "Europe/Berlin",
            "locale": "en-GB",
        } | options
        self.url = stack.url
        self.faults: list[str] = []
        self._context = browser.new_context(**options)
        self._context.set_default_timeout(60_000)
        self.page: Page = self._context.new_page()
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.on("console", self._hear)
        if by_form:
            self.page.goto(f"{stack.url}/auth/login?next={stack.url}/")
            self.page.fill("input[name=username]", stack.user)
            self.page.fill("input[name=password]", stack.password)
            self.page.click("button[type=submit]")
            self.page.get_by_role("link", name="Batches").first.wait_for()
        else:
            token = new_token(stack.url, stack.user, stack.password)
            self._context.add_cookies([{"name": COOKIE_NAME_JWT_TOKEN, "value": token, "url": stack.url}])

    @property
    def frame(self) -> FrameLocator:
        """Our page within Airflow's."""
        return self.page.frame_locator("iframe")

    def go(self, where: str = "") -> FrameLocator:
        """Follow a link to a view, as from a bookmark."""
        self.page.goto("about:blank")
        self.page.goto(f"{self.url}/plugin/batches#/{where}")
        return self.frame

    def alone(self, where: str = "") -> Page:
        """Open a view as a page of its own, with no Airflow about it."""
        self.page.goto("about:blank")
        self.page.goto(f"{self.url}/batchy/page#/{where}")
        self.page.locator("h1").wait_for()
        self.page.get_by_text("Loading…").first.wait_for(state="detached")
        return self.page

    def photograph(self, name: str) -> None:
        """Keep how it looks."""
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        self.page.wait_for_timeout(400)
        self.page.screenshot(path=SCREENSHOTS / f"{name}.png")

    def barriers(self) -> list[str]:
        """Return what axe-core finds serious in the page that is open."""
        found = Axe().run(self.page).response["violations"]
        return [
            f"{each['id']} ({each['impact']}): {[node['html'][:200] for node in each['nodes'][:3]]}"
            for each in found
            if each["impact"] in _SERIOUS
        ]

    def close(self) -> None:
        """Leave."""
        self._context.close()

    def _hear(self, message: Any) -> None:
        if message.type == "error" and not message.text.startswith(_HARMLESS):
            self.faults.append(f"{message.text} ({message.location.get('url', '')})")
