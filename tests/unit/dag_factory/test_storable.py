# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""What Airflow cannot store is dropped alone, and finding that out costs little."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest

from batchy_provider.dag_factory import build_dags, load_dags, storable
from batchy_provider.dag_factory.loader import build_one

GOOD = "jobs: {a: {bash: echo}}\n"
OPERATORS = """
import sys
from airflow.sdk import BaseOperator

class Holds(BaseOperator):
    template_fields = ("value",)
    value = "sound"

class Nul(Holds):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.value = "a\\0b"

class Backslash(Holds):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.value = "a\\\\u0000b"

class Surrogate(Holds):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.value = "a\\ud800b"

class Huge(Holds):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.value = {"a": 2**70}

class NotANumber(Holds):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.value = float("nan")

class Exits(Holds):
    def __init__(self, **kwargs):
        sys.exit(3)
"""
REFUSED = {
    "Nul": "a text holds a NUL character, which PostgreSQL cannot store",
    "Surrogate": "UnicodeEncodeError: 'utf-8' codec can't encode character",
    "Huge": "OverflowError",
    "NotANumber": "ValueError: Out of range float values are not JSON compliant",
    "Exits": "SystemExit: 3",
}


@pytest.fixture
def cfg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("_AIRFLOW_PARSING_CONTEXT_DAG_ID", raising=False)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    monkeypatch.syspath_prepend(tmp_path / "modules")
    for folder in ("tmp", "modules", "cfg"):
        (tmp_path / folder).mkdir()
    (tmp_path / "modules" / "hostile_operators.py").write_text(OPERATORS)
    (tmp_path / "modules" / "exits_at_import.py").write_text("raise SystemExit('no')\n")
    (tmp_path / "cfg" / "good.yaml").write_text(GOOD)
    return tmp_path / "cfg"


@pytest.fixture
def serialized(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    names: list[str] = []
    real = storable.storage_problem

    def spy(dag: Any) -> str | None:
        names.append(dag.dag_id)
        return real(dag)

    monkeypatch.setattr(storable, "storage_problem", spy)
    return names


@pytest.mark.parametrize("operator", REFUSED)
def test_what_airflow_cannot_store_is_dropped_alone(cfg: Path, operator: str):
    (cfg / "bad.yaml").write_text(f"jobs: {{a: {{operator: hostile_operators.{operator}}}}}\n")
    dags, diagnostics = build_dags(cfg)
    assert list(dags) == ["good"]
    assert [diagnostic.file for diagnostic in diagnostics] == [str(cfg / "bad.yaml")]
    assert REFUSED[operator] in diagnostics[0].message


def test_a_module_that_exits_takes_no_other_workflow_with_it(cfg: Path):
    (cfg / "bad.yaml").write_text("jobs: {a: {operator: exits_at_import.Operator}}\n")
    dags, diagnostics = build_dags(cfg)
    assert list(dags) == ["good"]
    assert "SystemExit: no" in diagnostics[0].message


def test_a_backslash_before_a_u_is_no_nul(cfg: Path):
    (cfg / "fine.yaml").write_text("jobs: {a: {operator: hostile_operators.Backslash}}\n")
    assert build_dags(cfg)[1] == []


def test_what_is_known_to_be_good_is_not_serialized_again(cfg: Path, serialized: list[str]):
    for number in range(storable.MIN_CACHED):
        (cfg / f"w{number}.yaml").write_text(GOOD)
    (cfg / "foreign.yaml").write_text("jobs: {a: {operator: hostile_operators.Holds}}\n")
    assert len(build_dags(cfg)[0]) == storable.MIN_CACHED + 2 == len(serialized)
    serialized.clear()
    (cfg / "w3.yaml").write_text("jobs: {a: {bash: echo 2}}\n")
    assert len(build_dags(cfg)[0]) == storable.MIN_CACHED + 2
    assert sorted(serialized) == ["foreign", "w3"]  # a foreign class may do another thing each time


def test_no_file_of_others_says_what_is_good(cfg: Path, serialized: list[str]):
    for number in range(storable.MIN_CACHED):
        (cfg / f"w{number}.yaml").write_text(GOOD)
    build_dags(cfg)
    (folder,) = (cfg.parent / "tmp").iterdir()
    assert folder.stat().st_mode & 0o777 == 0o700
    folder.chmod(0o777)
    serialized.clear()
    build_dags(cfg)
    assert len(serialized) == storable.MIN_CACHED + 1


def test_a_parse_does_not_use_up_its_time(cfg: Path, serialized: list[str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(storable, "MAX_SECONDS", -1.0)
    (cfg / "foreign.yaml").write_text("jobs: {a: {operator: hostile_operators.Holds}}\n")
    assert sorted(build_dags(cfg)[0]) == ["foreign", "good"]
    assert serialized == ["foreign"]


def test_a_task_start_serializes_nothing(cfg: Path, serialized: list[str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("_AIRFLOW_PARSING_CONTEXT_DAG_ID", "good")
    assert list(load_dags(cfg, {})) == ["good"]
    assert build_one(cfg, "good")[0] is not None
    assert serialized == []
