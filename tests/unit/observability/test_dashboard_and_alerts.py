# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Dashboard, alert rules, mapping and documentation name exactly the metrics of the code."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from batchy_provider.observability.metrics import METRICS, Metric
from batchy_provider.services.prometheus import GAUGES

ROOT = Path(__file__).parents[3]
DEPLOY = ROOT / "deploy"
ALERTS = DEPLOY / "prometheus" / "batchy-alerts.yml"
PAGE = (ROOT / "docs" / "observability.md").read_text()
PROMTOOL = shutil.which("promtool")

_TEXT = re.compile(r'"[^"]*"')
_LABELS = re.compile(r"\{[^}]*\}|\b(?:by|without|on|ignoring)\s*\([^)]*\)|\[[^\]]*\]")
_NAME = re.compile(r"\b[a-zA-Z_:][a-zA-Z0-9_:]*\b(?!\s*\()")
_LABEL = re.compile(r"(\w+)\s*(?:=~|!~|!=|=)")
_BY = re.compile(r"\bby\s*\(([^)]*)\)")
_WORDS = {"or", "and", "unless", "vector", "time"}


def prometheus_name(metric: Metric) -> str:
    """What the collector's exporter and the mapping make of a name."""
    return f"airflow_{metric.name.replace('.', '_')}{'_total' if metric.kind == 'counter' else ''}"


KNOWN = {**{gauge.name: gauge.labels for gauge in GAUGES}, **{prometheus_name(each): each.tags for each in METRICS}}


def dashboard() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((DEPLOY / "grafana" / "batchy.json").read_text())
    return found


def queries() -> Iterator[tuple[str, str]]:
    for panel in dashboard()["panels"]:
        for target in panel.get("targets", []):
            yield f"panel {panel['title']!r}", target["expr"]
    for group in yaml.safe_load(ALERTS.read_text())["groups"]:
        for rule in group["rules"]:
            yield f"alert {rule['alert']}", rule["expr"]


def names(query: str) -> set[str]:
    """The metrics that a query asks for."""
    plain = _LABELS.sub(" ", _TEXT.sub("", query))
    return {name for name in _NAME.findall(plain) if name not in _WORDS} - {"up"}


def labels(query: str) -> set[str]:
    """The labels that a query selects or groups by."""
    inner = " ".join(re.findall(r"\{([^}]*)\}", query))
    grouped = (label.strip() for of in _BY.findall(query) for label in of.split(","))
    return {*_LABEL.findall(_TEXT.sub("", inner)), *grouped} - {""}


@pytest.mark.parametrize(("where", "query"), [*queries()])
def test_a_query_asks_for_what_there_is(where: str, query: str) -> None:
    asked = names(query)
    assert asked <= KNOWN.keys(), where
    if "up{" not in query:
        assert asked, where
        for name in asked:
            assert labels(query) <= set(KNOWN[name]), f"{where}: labels of {name}"


def test_names_are_found_in_queries() -> None:
    assert names('max by (job) (a_total{x="b"}[5m]) > 3 * 60 or vector(0)') == {"a_total"}
    assert names("time() - a and b") == {"a", "b"}
    assert labels('sum by (step, x) (a{workflow=~"$workflow", y="z=1"})') == {"step", "x", "workflow", "y"}


def test_variables_and_legends_of_the_dashboard() -> None:
    found = dashboard()
    variables = {each["name"] for each in found["templating"]["list"]} | {"__rate_interval"}
    for panel in found["panels"]:
        for target in panel.get("targets", []):
            used = set(re.findall(r"\$(\w+)", target["expr"]))
            assert used <= variables, panel["title"]
            known = {label for name in names(target["expr"]) for label in KNOWN[name]}
            assert set(re.findall(r"{{(\w+)}}", target["legendFormat"])) <= known, panel["title"]
    ids = [panel["id"] for panel in found["panels"]]
    assert len(ids) == len(set(ids))


def test_every_state_metric_but_plain_counts_is_shown_or_watched() -> None:
    used = {name for _, query in queries() for name in names(query)}
    assert {gauge.name for gauge in GAUGES} - used == {"batchy_workflow_jobs", "batchy_workflow_waits_for"}


def test_the_statsd_mapping_is_that_of_the_dotted_names() -> None:
    given = yaml.safe_load((DEPLOY / "prometheus" / "statsd-mapping.yml").read_text())["mappings"]
    assert given == [
        {
            "match": f"airflow.{metric.name}{'.*' * len(metric.tags)}",
            "name": prometheus_name(metric),
            **({"labels": {tag: f"${n}" for n, tag in enumerate(metric.tags, 1)}} if metric.tags else {}),
        }
        for metric in METRICS
    ]


def test_the_documentation_has_all_metrics() -> None:
    metrics = PAGE.partition("## Traces")[0]
    rows = [re.sub(r"\s+", " ", line) for line in metrics.splitlines() if line.startswith("| `")]
    for gauge in GAUGES:
        tags = ", ".join(f"`{label}`" for label in gauge.labels)
        assert re.sub(r"\s+", " ", f"| `{gauge.name}` | {tags} | {gauge.help} |") in rows
    for metric in METRICS:
        tags = ", ".join(f"`{tag}`" for tag in metric.tags)
        assert re.sub(r"\s+", " ", f"| `{metric.name}` | {metric.kind} | {tags} | {metric.help} |") in rows
    told = {name for row in rows for name in re.findall(r"^\| `(batchy[._][\w.]+)`", row)}
    assert told == {gauge.name for gauge in GAUGES} | {metric.name for metric in METRICS}


def test_every_alert_is_on_the_page() -> None:
    alerts = [rule["alert"] for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]
    assert [name for name in alerts if f"`{name}`" not in PAGE] == []


@pytest.mark.slow
@pytest.mark.skipif(PROMTOOL is None and not os.environ.get("CI"), reason="no promtool (Debian: prometheus)")
@pytest.mark.parametrize(
    "arguments", [["check", "rules", "batchy-alerts.yml"], ["test", "rules", "batchy-alerts-test.yml"]]
)
def test_promtool_is_content(arguments: list[str]) -> None:
    assert PROMTOOL is not None, "no promtool on the PATH; Debian's package is prometheus"
    done = subprocess.run([PROMTOOL, *arguments], cwd=ALERTS.parent, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_has_a_test_in_which_it_is_raised() -> None:
    alerts = {rule["alert"] for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]}
    tests = yaml.safe_load((DEPLOY / "prometheus" / "batchy-alerts-test.yml").read_text())["tests"]
    raised = {each["alertname"] for test in tests for each in test["alert_rule_test"] if each.get("exp_alerts")}
    assert raised == alerts
