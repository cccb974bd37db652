# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""A later parse builds each DAG from its blueprint. It is the same DAG, and never one of an older file."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from blueprint_files import MORE, PLAIN, attributes, folder_of_blueprints, of_text, watch_checks

from batchy_provider.config.reader import read_folder
from batchy_provider.dag_factory import build, build_dags
from batchy_provider.dag_factory.blueprint import blueprint_of, decode, encode

ROOT = Path(__file__).parents[3]


@pytest.fixture
def cfg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Enough workflows for blueprints to be used, and the one that tests edit, `script`."""
    return folder_of_blueprints(tmp_path, monkeypatch)


@pytest.fixture
def checked(cfg: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The workflows whose models were made since the first parse."""
    return watch_checks(cfg, monkeypatch)


@pytest.mark.parametrize("name", PLAIN)
def test_a_blueprint_is_the_same_after_it_was_written_down(cfg: Path, name: str) -> None:
    blueprint = of_text(cfg, name, PLAIN[name])
    text = encode(blueprint)
    assert text is not None
    assert text.isascii()
    assert "\n" not in text
    assert "\t" not in text
    assert decode(blueprint.path, text) == blueprint


@pytest.mark.parametrize("name", MORE)
def test_what_needs_more_than_plain_values_is_not_written_down(cfg: Path, name: str) -> None:
    assert encode(of_text(cfg, name, MORE[name])) is None


def test_blueprints_of_the_examples_are_the_same_after_they_were_written_down() -> None:
    found = [blueprint_of(each) for each in read_folder(ROOT / "cfg").workflows.values() if each.has_dag]
    texts = [(each, encode(each)) for each in found]
    plain = [(each, text) for each, text in texts if text is not None]
    assert len(plain) > 3
    for each, text in plain:
        assert decode(each.path, text) == each


@pytest.mark.parametrize("text", ["", "null", "[]", "{}", '{"jobs": 3}', '{"jobs": [[1]]}', '{"jobs": []}'])
def test_what_is_no_blueprint_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"blueprint|Expecting value"):
        decode(Path("a.yaml"), text)


def test_a_later_parse_makes_the_same_dags_and_checks_no_file(cfg: Path, checked: list[str]) -> None:
    first = {each.name: attributes(build.build_dag(blueprint_of(each))) for each in read_folder(cfg).workflows.values()}
    checked.clear()
    dags, diagnostics = build_dags(cfg)
    assert diagnostics == []
    assert checked == []
    assert {name: attributes(dag) for name, dag in dags.items()} == first


def test_arguments_from_the_configuration_are_what_airflow_looks_up(cfg: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__MAX_ACTIVE_TASKS_PER_DAG", "7")
    monkeypatch.setenv("AIRFLOW__CORE__MAX_CONSECUTIVE_FAILED_DAG_RUNS_PER_DAG", "3")
    blueprints = [of_text(cfg, name, PLAIN[name]) for name in ("script", "dates")]
    configured = build.configured_arguments()
    for each in blueprints:
        assert attributes(build.build_dag(each, configured)) == attributes(build.build_dag(each))
    assert [build.build_dag(each, configured).max_active_tasks for each in blueprints] == [7, 2]


def test_another_configuration_reaches_each_dag(cfg: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build_dags(cfg)
    monkeypatch.setenv("AIRFLOW__CORE__MAX_ACTIVE_TASKS_PER_DAG", "5")
    dags = build_dags(cfg)[0]
    assert [dags[name].max_active_tasks for name in ("script", "dates", "more_0")] == [5, 2, 5]


FIVE_JOBS = "schedule: '0 2 * * *'\nstart_date: 2026-01-01\njobs:\n" + "".join(
    f"  job_{number}: {{bash: echo}}\n" for number in range(5)
)


def test_a_later_parse_reads_each_file_once_and_runs_little_code_of_this_package(
    cfg: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it adds to the building of the same tasks by hand, for each further workflow."""
    counts = []
    for more in (20, 40):
        for number in range(more):
            (cfg / f"five_{number}.yaml").write_text(FIVE_JOBS)
        build_dags(cfg)
        opened, calls = list[str](), 0
        real = os.open

        def spy(path: Any, *rest: Any, real: Any = real, opened: list[str] = opened, **more: Any) -> int:
            opened.append(os.fspath(path))
            return int(real(path, *rest, **more))

        def count(frame: FrameType, event: str, _: object) -> None:
            nonlocal calls
            calls += event == "call" and "/batchy_provider/" in frame.f_code.co_filename

        with monkeypatch.context() as patch:
            patch.setattr(os, "open", spy)
            before = sys.getprofile()
            sys.setprofile(count)
            try:
                build_dags(cfg)
            finally:
                sys.setprofile(before)
        files = [path for path in opened if "/five_" in path]
        assert len(files) == len(set(files)) == more
        counts.append(calls)
    assert (counts[1] - counts[0]) / 20 < 85
