# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The graph of a file is that of its DAG, and can be looked at with no Airflow."""

from __future__ import annotations

import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from batchy_provider.config.graph import as_dot, as_svg, as_text, graph_of
from batchy_provider.config.reader import read_workflow
from batchy_provider.exceptions import ConfigError

CFG = Path(__file__).parents[3] / "cfg"
EXAMPLES = ("crm_extract", "invoices", "sales", "stock")


@pytest.mark.parametrize("name", EXAMPLES)
def test_it_is_that_of_the_dag(name: str):
    from batchy_provider.dag_factory.loader import build_one

    dag, diagnostics = build_one(CFG, name)
    assert not diagnostics
    assert dag is not None
    nodes = graph_of(read_workflow(CFG, name))
    assert {task.task_id: task.upstream_task_ids - {"open"} for task in dag.tasks} == {
        name: set(node.upstream) - {"open"} for name, node in nodes.items()
    }
    assert {task.task_id for task in dag.tasks if "open" in task.upstream_task_ids} - {"close"} == {
        name for name, node in nodes.items() if "open" in node.upstream
    }


def test_as_text():
    assert as_text(read_workflow(CFG, "sales")) == (
        "sales (0 2 * * * Europe/Paris)\n"
        "  wait_for_crm_extract\n"
        "  open                  ← wait_for_crm_extract\n"
        "  extract               ← open\n"
        "  load                  ← extract   (reads extract)\n"
        "  reconcile             ← extract\n"
        "  report                ← load   (whatever its result)\n"
        "  page_on_call          ← load   (if one failed)\n"
        "  close                 ← report, reconcile, page_on_call\n"
    )


@pytest.mark.parametrize("name", EXAMPLES)
def test_as_dot(name: str):
    workflow = read_workflow(CFG, name)
    dot = as_dot(workflow)
    for task, node in graph_of(workflow).items():
        assert f'  "{task}" [label="{task}' in dot
        for other in node.upstream:
            assert f'  "{other}" -> "{task}"' in dot


@pytest.mark.parametrize("name", EXAMPLES)
def test_as_a_picture(name: str):
    workflow = read_workflow(CFG, name)
    root = ET.fromstring(as_svg(workflow))
    space = "{http://www.w3.org/2000/svg}"
    texts = [text.text for text in root.iter(f"{space}text")]
    nodes = graph_of(workflow)
    assert [text for text in texts if text in nodes] == list(nodes)
    boxes = [(box.get("x"), box.get("y")) for box in root.iter(f"{space}rect")]
    assert len(set(boxes)) == len(nodes), "no task is drawn over another"
    arrows = list(root.iter(f"{space}path"))
    assert len(arrows) == 1 + sum(len(node.upstream) for node in nodes.values())  # and the arrow head


@pytest.mark.parametrize(
    ("schedule", "text"),
    [
        ("null", "by hand"),
        ("'@daily'", "@daily UTC"),
        ("'@once'", "@once"),
        ("['0 6 * * *', '@weekly']", "0 6 * * * | @weekly UTC"),
        ("{after: [a, b]}", "after a and b"),
        ("{after: [a, b], any: true}", "after a or b"),
    ],
)
def test_when_it_runs(tmp_path: Path, schedule: str, text: str):
    (tmp_path / "x.yaml").write_text(f"schedule: {schedule}\njobs: {{a: {{bash: x, for_each: [1, 2]}}}}\n")
    drawn = as_text(read_workflow(tmp_path, "x"))
    assert drawn.startswith(f"x ({text})\n")
    assert "(2 times)" in drawn


def test_a_file_of_the_original_has_none():
    with pytest.raises(ConfigError, match="state without a DAG"):
        as_text(read_workflow(CFG, "wf1"))


def test_airflow_is_not_loaded():
    code = (
        "import sys; from batchy_provider.cli.main import main\n"
        f"assert main(['--cfg', {str(CFG)!r}, 'render', 'sales']) == 0\n"
        "assert 'airflow' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
