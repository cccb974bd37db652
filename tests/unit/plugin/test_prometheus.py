# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""A real Prometheus, with the configuration and the rules of `deploy/`, scrapes a real API server."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from api_server import Api, token

from batchy_provider.local.ports import free_port
from batchy_provider.local.rest import wait_for

DEPLOY = Path(__file__).parents[3] / "deploy"
PROMETHEUS = shutil.which("prometheus")

pytestmark = pytest.mark.skipif(
    PROMETHEUS is None and not os.environ.get("CI"), reason="no prometheus (a Debian package)"
)


class Prometheus:
    """Query Prometheus."""

    def __init__(self, port: int) -> None:
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{port}/api/v1", timeout=30, trust_env=False)

    def query(self, text: str) -> list[dict[str, Any]]:
        """The series that a query finds."""
        answer = self.http.get("/query", params={"query": text})
        assert answer.status_code == 200, f"{text}: {answer.text}"
        found: list[dict[str, Any]] = answer.json()["data"]["result"]
        return found

    def alerts(self) -> dict[str, dict[str, str]]:
        """Alerts that are raised → their labels."""
        found = self.http.get("/alerts").json()["data"]["alerts"]
        return {each["labels"]["alertname"]: each["labels"] for each in found if each["state"] == "firing"}

    def is_ready(self) -> bool:
        try:
            return self.http.get("/query", params={"query": "vector(1)"}).status_code == 200
        except httpx.HTTPError:
            return False


@pytest.fixture
def prometheus(api: Api, served: str, tmp_path: Path) -> Iterator[Prometheus]:
    assert PROMETHEUS is not None, "no prometheus on the PATH; it is a package of Debian"
    (tmp_path / "token").write_text(token("viewer"))
    config = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
    (scraped,) = [job for job in config["scrape_configs"] if job["job_name"] == "batchy"]
    scraped |= {"scrape_interval": "1s", "scrape_timeout": "1s"}
    scraped["static_configs"] = [{"targets": [served.removeprefix("http://")]}]
    scraped["authorization"]["credentials_file"] = str(tmp_path / "token")
    config |= {"scrape_configs": [scraped], "global": {"evaluation_interval": "1s"}}
    rules = DEPLOY / "prometheus" / config["rule_files"][0]
    config["rule_files"] = [str(rules)]
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(config))
    port = free_port()
    command = [
        PROMETHEUS,
        f"--config.file={tmp_path}/prometheus.yml",
        f"--storage.tsdb.path={tmp_path}/data",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with (tmp_path / "log").open("w") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            found = Prometheus(port)
            wait_for(found.is_ready, "Prometheus", timeout=120)
            yield found
        finally:
            process.kill()


@pytest.mark.slow
def test_it_scrapes_and_evaluates_alerts_and_queries_of_the_dashboard(api: Api, prometheus: Prometheus) -> None:
    for _ in range(2):
        assert api.client().post("/api/v1/workflows/sales/batches").status_code == 201
        assert api.client().get("/fail_batch/sales").status_code == 200
    wait_for(lambda: prometheus.query('up{job="batchy"} == 1'), "a scrape", timeout=120)
    wait_for(lambda: "BatchyFailuresInARow" in prometheus.alerts(), "the alert", timeout=120)
    raised = prometheus.alerts()
    assert raised.keys() == {"BatchyFailuresInARow"}
    assert (raised["BatchyFailuresInARow"]["workflow"], raised["BatchyFailuresInARow"]["severity"]) == ("sales", "page")

    shown = {}
    for panel in json.loads((DEPLOY / "grafana" / "batchy.json").read_text())["panels"]:
        for target in panel.get("targets", []):
            query = target["expr"].replace("$__rate_interval", "5m")
            shown[panel["title"]] = prometheus.query(re.sub(r"\$workflow", ".*", query))
    assert shown["Failed"][0]["value"][1] == "1"
    assert shown["Redis"][0]["value"][1] == "1"
    assert shown["Succeeded"][0]["value"][1] == "0"
