# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Why, on a whole Airflow: a failure that another workflow waits for is the root, by REST and on the page."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from browser import Reader
from nights import Nights
from playwright.sync_api import expect

from batchy_provider.local.rest import wait_for

SOURCE = """\
schedule: null
jobs:
  load:
    retries: 0
    bash: |
      test -e {marker} && exit 0
      echo 'ORA-00942: no table' >&2
      exit 3
"""
USER = """\
schedule: null
wait_for: why_source
jobs:
  load: {bash: "true"}
"""


def test_the_root_cause_of_a_run_that_waits(airflow: Nights, reader: Callable[..., Reader], tmp_path: Path) -> None:
    marker = tmp_path / "mended"
    airflow.add_all({"why_source": SOURCE.format(marker=marker), "why_user": USER})
    failed = airflow.start("why_source")
    waiting = airflow.start("why_user")
    assert airflow.client.wait_for_run("why_source", failed) == "failed"
    wait_for(
        lambda: airflow.tasks("why_user", waiting).get("wait_for_why_source") == "deferred", "it waits", timeout=240
    )
    with airflow.rest() as rest:

        def why(workflow: str) -> Any:
            return rest.get(f"/batchy/api/v1/workflows/{workflow}/why").raise_for_status().json()

        found = why("why_user")
        assert [(link["workflow"], link["code"]) for link in found["chain"]] == [
            ("why_user", "waiting"),
            ("why_source", "failed"),
        ]
        root = found["chain"][1]["text"]
        assert "job load of batch" in root
        assert "with exit code 3; stderr ends with: ORA-00942: no table" in root
        (affected,) = rest.get("/batchy/api/v1/workflows/why_source/impact").json()["downstream"]
        assert affected["workflow"] == "why_user"

        page = reader().alone("workflows/why_user")
        line = page.get_by_role("region", name="Why")
        expect(line).to_contain_text("why_source has failed")
        line.get_by_text("to the root cause").click()
        line.get_by_role("link", name="why_source").click()
        expect(page.get_by_role("region", name="Why")).to_contain_text("ORA-00942: no table")
        overview = reader().alone()
        # The first page of the overview may show only workflows of other tests.
        overview.get_by_label("Search workflows").fill("why_source")
        expect(overview.get_by_text("why_source has failed").first).to_be_visible()
        phone = reader(viewport={"width": 390, "height": 844}, color_scheme="dark")
        page = phone.alone("workflows/why_source/dependencies")
        page.get_by_label("Suppose").select_option("it fails")
        page.get_by_role("rowheader", name="why_user").wait_for()
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert phone.barriers() == []
        phone.photograph("why-phone-dark")

        marker.touch()
        assert airflow.run("why_source")[1] == "success"
        assert airflow.client.wait_for_run("why_user", waiting) == "success"
        assert why("why_user")["code"] == why("why_source")["code"] == "done"
        airflow.client.unpause("why_source", paused=True)
        assert why("why_source")["code"] == "paused"
