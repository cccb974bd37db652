# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""One loop of Airflow's DAG processor builds each workflow once, and shows each error all the same."""

from __future__ import annotations

import gc
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest

from batchy_provider.compat import serialize_dag
from batchy_provider.config.catalog import Catalog
from batchy_provider.config.diagnostics import Diagnostic
from batchy_provider.config.model import WorkflowModel
from batchy_provider.config.reader import InvalidFilesError
from batchy_provider.dag_factory import build, build_dags, build_record, load_dags, raise_config_errors
from batchy_provider.dag_factory.loader import find_errors

ROOT = Path(__file__).parents[3]
SCRIPT = "schedule: '@daily'\njobs: {a: {bash: echo}}\n"
OPERATOR = "jobs: {a: {operator: counted_operators.Good}}\n"
MODULE = "from airflow.sdk import BaseOperator\n\nclass Good(BaseOperator):\n    pass\n"
CALENDAR = "shop: {weekend: [sun]}\n"
WITH_CALENDAR = "schedule: {cron: '0 2 * * *', calendar: shop}\njobs: {a: {bash: echo}}\n"
WITH_BUNDLE = "jobs: {a: {bundle: load}}\n"


@pytest.fixture
def cfg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("_AIRFLOW_PARSING_CONTEXT_DAG_ID", raising=False)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    monkeypatch.syspath_prepend(tmp_path / "modules")
    monkeypatch.delitem(sys.modules, "counted_operators", raising=False)
    for folder in ("tmp", "modules", "cfg/bundles/load"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "modules" / "counted_operators.py").write_text(MODULE)
    folder = tmp_path / "cfg"
    (folder / "bundles" / "load" / "script.sh").write_text("echo\n")
    (folder / "_calendars.yaml").write_text(CALENDAR)
    for name, text in {
        "one": SCRIPT,
        "two": SCRIPT,
        "off": f"enabled: false\n{SCRIPT}",
        "state": "job1: {param: 1}\n",
        "operators": OPERATOR,
        "calendars": WITH_CALENDAR,
        "bundled": WITH_BUNDLE,
    }.items():
        (folder / f"{name}.yaml").write_text(text)
    return folder


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The workflows whose DAGs were built, in order."""
    names: list[str] = []
    real = build.build_dag

    def spy(blueprint: Any, *more: Any) -> Any:
        names.append(blueprint.name)
        return real(blueprint, *more)

    monkeypatch.setattr(build, "build_dag", spy)
    return names


def shown(cfg: Path) -> list[Diagnostic]:
    try:
        raise_config_errors(cfg)
    except InvalidFilesError as error:
        return error.diagnostics
    return []


ALL = ["bundled", "calendars", "one", "operators", "two"]


def test_a_loop_builds_each_workflow_once(cfg: Path, built: list[str]) -> None:
    for _ in range(3):
        built.clear()
        assert sorted(load_dags(cfg, {})) == ALL
        raise_config_errors(cfg)
        assert sorted(built) == ALL


def test_without_the_parse_that_gives_the_dags_errors_are_found_by_building(cfg: Path, built: list[str]) -> None:
    raise_config_errors(cfg)
    raise_config_errors(cfg)
    assert sorted(built) == sorted([*ALL, *ALL])


def test_only_an_edited_file_is_built_to_find_its_errors(cfg: Path, built: list[str]) -> None:
    build_dags(cfg)
    built.clear()
    (cfg / "two.yaml").write_text("jobs: {a: {bash: echo 2}}\n")
    assert shown(cfg) == []
    assert built == ["two"]


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("jobs: {a: {bsh: echo}}\n", ":1:12: jobs.a.bsh: unknown key"),
        ("jobs: {a: {operator: counted_operators.Bad}}\n", ":1:22: jobs.a.operator: counted_operators has no 'Bad'"),
        ("jobs: [", ":2:1: not valid YAML"),
    ],
)
def test_an_edited_file_is_shown_at_once_with_its_place(cfg: Path, text: str, place: str) -> None:
    build_dags(cfg)
    edited = cfg / "two.yaml"
    before = edited.stat()
    edited.write_text(text.ljust(before.st_size)[: max(before.st_size, len(text))])
    os.utime(edited, ns=(before.st_atime_ns, before.st_mtime_ns))
    (diagnostic,) = shown(cfg)
    assert str(diagnostic).startswith(f"{edited}{place}")
    edited.write_text(SCRIPT)
    assert shown(cfg) == []


def test_an_error_is_shown_at_each_parse_and_hides_no_other_workflow(cfg: Path) -> None:
    (cfg / "bad.yaml").write_text("jobs: {a: {operator: counted_operators.Bad}}\n")
    (cfg / "worse.yaml").write_text("jobs: {a: {bash: echo, retries: many}}\n")
    for _ in range(3):
        dags, diagnostics = build_dags(cfg)
        assert sorted(dags) == ALL
        assert shown(cfg) == diagnostics
        assert [Path(each.file).name for each in diagnostics] == ["bad.yaml", "worse.yaml"]


@pytest.mark.parametrize("suffix", [".yml", ".json"])
def test_a_second_file_of_a_workflow_is_shown(cfg: Path, suffix: str) -> None:
    build_dags(cfg)
    (cfg / "team").mkdir()
    (cfg / "team" / f"two{suffix}").write_text('{"jobs": {"a": {"bash": "echo"}}}')
    (diagnostic,) = shown(cfg)
    assert "already defined by" in diagnostic.message
    assert diagnostic.file == str(cfg / "team" / f"two{suffix}")


def test_a_removed_file_is_neither_a_dag_nor_an_error(cfg: Path) -> None:
    (cfg / "bad.yaml").write_text("[")
    build_dags(cfg)
    (cfg / "bad.yaml").unlink()
    (cfg / "two.yaml").unlink()
    assert shown(cfg) == []
    assert "two" not in build_dags(cfg)[0]


def test_a_bundle_that_is_gone_is_shown(cfg: Path, built: list[str]) -> None:
    build_dags(cfg)
    built.clear()
    (cfg / "bundles" / "load" / "script.sh").unlink()
    (diagnostic,) = shown(cfg)
    assert diagnostic.key == "jobs.a.bundle"
    assert built == []


def test_an_error_in_the_calendars_is_shown(cfg: Path) -> None:
    build_dags(cfg)
    (cfg / "_calendars.yaml").write_text("shop: {weekend: [nosuchday]}\n")
    files = {Path(each.file).name for each in shown(cfg)}
    assert files == {"_calendars.yaml", "calendars.yaml"}
    assert "calendars" not in build_dags(cfg)[0]
    (cfg / "_calendars.yaml").write_text(CALENDAR)
    assert shown(cfg) == []


def test_a_change_of_inherited_keys_reaches_each_workflow(cfg: Path) -> None:
    build_dags(cfg)
    (cfg / "_defaults.yaml").write_text("defaults: {retries: 7}\n")
    assert build_dags(cfg)[0]["one"].get_task("a").retries == 7
    (cfg / "_defaults.yaml").write_text("defaults: {retries: 7, pol: x}\n")
    (diagnostic,) = shown(cfg)
    assert diagnostic.key == "defaults.pol"


def test_a_changed_module_is_built_again(cfg: Path, built: list[str]) -> None:
    build_dags(cfg)
    built.clear()
    (cfg.parent / "modules" / "counted_operators.py").write_text(MODULE + "\n")
    assert shown(cfg) == []
    assert built == ["operators"]


def test_operators_are_built_again_if_nobody_has_built_them_lately(
    cfg: Path, built: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    build_dags(cfg)
    built.clear()
    now = time.time()
    monkeypatch.setattr(build_record.time, "time", lambda: now + build_record.MAX_AGE + 60)
    assert shown(cfg) == []
    assert built == ["operators"]


def test_another_configuration_of_airflow_builds_all_again(cfg: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (cfg / "many.yaml").write_text("jobs: {a: {bash: echo, for_each: [x, y, z]}}\n")
    build_dags(cfg)
    assert shown(cfg) == []
    monkeypatch.setenv("AIRFLOW__CORE__MAX_MAP_LENGTH", "2")
    (diagnostic,) = shown(cfg)
    assert "this Airflow runs at most 2" in diagnostic.message


def test_a_second_parse_makes_the_same_dags(cfg: Path, tmp_path: Path) -> None:
    for folder in (ROOT / "cfg", cfg):
        first, second = ({name: serialize_dag(dag) for name, dag in build_dags(folder)[0].items()} for _ in range(2))
        assert json.dumps(first, sort_keys=True) == json.dumps(second, sort_keys=True)


def test_other_processes_read_from_the_cache_what_the_catalog_reads(cfg: Path) -> None:
    before = Catalog(cfg).read()
    build_dags(cfg)
    after = Catalog(cfg).read()
    assert before.workflows == after.workflows
    assert before.diagnostics == after.diagnostics == []


@pytest.mark.parametrize("damage", ["", "{", "x " * 100, "\xff", '{"built": 3}'])
def test_a_damaged_cache_only_costs_time(cfg: Path, built: list[str], damage: str) -> None:
    build_dags(cfg)
    (folder,) = (cfg.parent / "tmp").iterdir()
    for file in folder.iterdir():
        keys = [line.partition(" ")[0] for line in file.read_text().splitlines()]
        lines = [damage, *(f"{key} {damage}" for key in keys)]
        file.write_text("\n".join(lines), encoding="latin-1")
    built.clear()
    assert find_errors(cfg) == []
    assert sorted(build_dags(cfg)[0]) == ALL
    assert sorted(built) == sorted([*ALL, *ALL])


def test_a_cache_that_others_can_write_is_not_used(cfg: Path, built: list[str]) -> None:
    build_dags(cfg)
    (folder,) = (cfg.parent / "tmp").iterdir()
    folder.chmod(0o777)
    built.clear()
    assert shown(cfg) == []
    assert sorted(built) == ALL


def test_aliases_are_not_written_out_in_the_cache(cfg: Path) -> None:
    text = "x" * 1000
    (cfg / "alias.yaml").write_text(
        f"x-text: &text {text}\njobs: {{a: {{bash: echo, params: {{p: [{', '.join(['*text'] * 1000)}]}}}}}}\n"
    )
    assert len(build_dags(cfg)[0]["alias"].get_task("open").jobs["a"]["p"]) == 1000
    (folder,) = (cfg.parent / "tmp").iterdir()
    assert sum(file.stat().st_size for file in folder.iterdir()) < 100_000
    assert len(build_dags(cfg)[0]["alias"].get_task("open").jobs["a"]["p"]) == 1000
    assert shown(cfg) == []


def test_no_model_of_a_file_stays_in_memory(cfg: Path) -> None:
    # Those of other tests are held here: a parse may be when Python finds that nobody needs them.
    before = models_in_memory()
    dags = load_dags(cfg, {})
    assert len(dags) == len(ALL)
    assert len(models_in_memory()) == len(before)


def models_in_memory() -> list[WorkflowModel]:
    # `isinstance` would ask lazy objects of other packages for their class, and so import what they stand for.
    return [each for each in gc.get_objects() if type(each) is WorkflowModel]


def test_a_task_keeps_no_argument_that_says_nothing(cfg: Path) -> None:
    task: Any = build_dags(cfg)[0]["one"].get_task("a")
    assert {"bundle", "env", "limits", "inputs", "sha256"}.isdisjoint(task._BaseOperator__init_kwargs)
