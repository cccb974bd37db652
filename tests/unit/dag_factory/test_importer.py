# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Workflow files as DAG sources of their own, as Airflow 3.4 reads a DAG bundle; older versions have no importers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("airflow.sdk.importers.base", reason="Airflow before 3.4")

GOOD = "jobs: {a: {bash: echo}}\n"
CLASS = "batchy_provider.dag_factory.importer.WorkflowImporter"


@pytest.fixture
def cfg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    from airflow.sdk.importers.base import reset_importer_registry

    folder = tmp_path / "cfg"
    (folder / "team").mkdir(parents=True)
    (folder / "good.yaml").write_text(GOOD)
    (folder / "team" / "inner.yaml").write_text(GOOD)
    bundle = {"name": "batchy", "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle"}
    bundles = [{**bundle, "kwargs": {"path": str(folder)}, "importers": [{"classpath": CLASS}]}]
    monkeypatch.setenv("AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST", json.dumps(bundles))
    reset_importer_registry()
    return folder


def bag(cfg: Path, place: Path | None = None) -> Any:
    """What Airflow makes of a bundle, or of one of its files, as at the start of a task."""
    from airflow.dag_processing.dagbag import BundleDagBag

    return BundleDagBag(dag_folder=str(place or cfg), bundle_path=cfg, bundle_name="batchy")


def test_each_file_is_a_source_of_its_own(cfg: Path):
    found = bag(cfg)
    assert found.import_errors == {}
    assert {name: dag.relative_fileloc for name, dag in found.dags.items()} == {
        "good": "good.yaml",
        "inner": "team/inner.yaml",
    }
    assert list(bag(cfg, cfg / "team" / "inner.yaml").dags) == ["inner"]


def test_its_code_is_its_text(cfg: Path):
    (cfg / "of_json.json").write_text('{"jobs": {"a": {"bash": "x"}}}')
    codes = bag(cfg).dag_source_codes
    assert (codes["good"].source_code, codes["good"].language) == (GOOD, "yaml")
    assert codes["of_json"].language == "json"


def test_a_bad_file_has_an_import_error_of_its_own_with_all_its_errors(cfg: Path):
    (cfg / "bad.yaml").write_text(f"shedule: x\ntags: 5\n{GOOD}")
    (cfg / "team" / "worse.yaml").write_text("[")
    found = bag(cfg)
    assert sorted(found.dags) == ["good", "inner"]
    assert sorted(found.import_errors) == ["bad.yaml", "team/worse.yaml"]
    error = found.import_errors["bad.yaml"]
    for part in (
        "2 errors",
        "bad.yaml:1:1: shedule: unknown key; did you mean 'schedule'?",
        "1 | shedule: x",
        "tags",
    ):
        assert part in error


def test_files_inherit_and_a_bad_key_of_defaults_is_told_at_its_file(cfg: Path):
    (cfg / "_defaults.yaml").write_text("owner: all\nretrys: 2\n")
    for found in (bag(cfg), bag(cfg, cfg / "_defaults.yaml")):
        assert list(found.import_errors) == ["_defaults.yaml"]
        assert "retrys: unknown key" in found.import_errors["_defaults.yaml"]
    assert bag(cfg, cfg / "team" / "inner.yaml").dags["inner"].get_task("a").owner == "all"


def test_calendars_are_no_workflow_and_their_errors_are_told_at_their_file(cfg: Path):
    (cfg / "_calendars.yaml").write_text("target2: {holidays: ECB}\nbad: {holiday: ECB}\n")
    (cfg / "good.yaml").write_text('schedule: {cron: "0 2 * * *", calendar: target2}\n' + GOOD)
    (cfg / "team" / "inner.yaml").write_text('schedule: {cron: "0 2 * * *", calendar: bad}\n' + GOOD)
    found = bag(cfg)
    assert sorted(found.dags) == ["good"]
    assert sorted(found.import_errors) == ["_calendars.yaml", "team/inner.yaml"]
    assert "2:7: bad.holiday: unknown key" in found.import_errors["_calendars.yaml"]
    assert "the calendar 'bad' cannot be used" in found.import_errors["team/inner.yaml"]
    assert list(bag(cfg, cfg / "_calendars.yaml").import_errors) == ["_calendars.yaml"]


def test_two_files_of_one_name(cfg: Path):
    (cfg / "team" / "good.yml").write_text(GOOD)
    found = bag(cfg)
    assert found.dags["good"].relative_fileloc == "good.yaml"
    assert "already defined by" in found.import_errors["team/good.yml"]


def test_what_is_no_workflow_is_left_alone(cfg: Path):
    (cfg / "bundles" / "x").mkdir(parents=True)
    for name in ("bundles/x/conf.yaml", ".schema.json", "ignored.yaml", "notes.txt"):
        (cfg / name).write_text("[")
    (cfg / ".airflowignore").write_text("ignored.yaml\n")
    (cfg / "state.yaml").write_text("job1: {param: 1}")
    (cfg / "off.yaml").write_text("enabled: false\n" + GOOD)
    found = bag(cfg)
    assert (sorted(found.dags), found.import_errors) == (["good", "inner"], {})
