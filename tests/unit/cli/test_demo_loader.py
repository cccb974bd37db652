# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The loader that the demo writes where there is no checkout."""

from __future__ import annotations

from pathlib import Path

from airflow.utils.file import might_contain_dag_via_default_heuristic

from batchy_provider.cli.demo_workflows import LOADER


def test_airflow_opens_the_loader_of_the_demo(tmp_path: Path) -> None:
    """It passes over files without its own name in them: `batchy --cfg DIR demo` showed no workflow."""
    (tmp_path / "batchy_dags.py").write_text(LOADER)
    assert might_contain_dag_via_default_heuristic(str(tmp_path / "batchy_dags.py"))
