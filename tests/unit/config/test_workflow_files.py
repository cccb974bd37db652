# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Sound files: what is found, what is inherited, what follows what, and what the state is given."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from batchy_provider.config.reader import InvalidFilesError, Reader, find_file, find_files, read_folder, read_workflow
from batchy_provider.config.workflow import Workflow, environment, setting
from batchy_provider.exceptions import ConfigError, UnknownWorkflowError


@pytest.fixture
def write(tmp_path: Path) -> Any:
    def write(name: str, text: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    return write


def valid(path: Path) -> Workflow:
    workflow, diagnostics = Reader(path.parent).read(path)
    assert diagnostics == []
    assert workflow is not None
    return workflow


class TestOrder:
    def upstream(self, write: Any, jobs: str) -> dict[str, tuple[str, ...]]:
        order = valid(write("a.yaml", f"jobs:\n{jobs}")).order
        assert order is not None
        return order.upstream

    def test_each_job_follows_the_one_before_it(self, write: Any):
        jobs = "  a: {bash: x}\n  b: {bash: x}\n  c: {bash: x}\n"
        assert self.upstream(write, jobs) == {"a": (), "b": ("a",), "c": ("b",)}

    def test_a_branch_and_what_follows_it(self, write: Any):
        jobs = "  a: {bash: x}\n  b: {bash: x}\n  c: {bash: x, after: a}\n  d: {bash: x}\n"
        assert self.upstream(write, jobs) == {"a": (), "b": ("a",), "c": ("a",), "d": ("c",)}

    def test_a_job_may_follow_one_that_stands_below_it(self, write: Any):
        jobs = "  a: {bash: x, after: [c]}\n  b: {bash: x, after: []}\n  c: {bash: x}\n"
        assert self.upstream(write, jobs) == {"a": ("c",), "b": (), "c": ("b",)}

    def test_handlers_are_not_in_the_order(self, write: Any):
        jobs = "  a: {bash: x}\n  h: {bash: x, when: failed}\n  b: {bash: x}\n"
        assert self.upstream(write, jobs) == {"a": (), "h": ("a", "b"), "b": ("a",)}

    def test_a_handler_of_one_job_and_a_handler_of_a_handler(self, write: Any):
        jobs = "  a: {bash: x}\n  h: {bash: x, when: failed, after: a}\n  i: {bash: x, when: failed, after: h}\n"
        assert self.upstream(write, jobs) == {"a": (), "h": ("a",), "i": ("h",)}

    def test_what_close_must_wait_for_itself(self, write: Any):
        jobs = "  a: {bash: x}\n  b: {bash: x, after: []}\n  c: {bash: x, after: [a, b]}\n  d: {bash: x}\n"
        order = valid(write("a.yaml", f"jobs:\n{jobs}")).order
        assert order is not None
        assert order.must_meet_close == ["a", "b", "d"]

    def test_input(self, write: Any):
        jobs = "  a: {bash: x}\n  b: {bash: x, input: previous}\n  c: {bash: x, input: a}\n"
        order = valid(write("a.yaml", f"jobs:\n{jobs}")).order
        assert order is not None
        assert order.inputs == {"b": "a", "c": "a"}
        assert order.before("c") == ["a", "b"]


class TestState:
    def test_fields_are_flat_and_in_order(self, write: Any):
        path = write(
            "sales.yaml",
            "timezone: Europe/Paris\n"
            "initial_date: 2026-01-01\n"
            "defaults: {trunc_start: true}\n"
            "infa: {folder: DWH}\n"
            "jobs:\n"
            "  b: {bash: x, reprocess_hours: 0.5, params: {z: 1, a: [], big: 12345678901234567890}}\n"
            "  a: {bash: x, enabled: false, trunc_start: false, initial_date: 2026-07-01T12:00:00Z}\n"
            "  h: {bash: x, when: failed, params: {a: 1}}\n",
        )
        config = valid(path).config()
        assert config.name == "sales"
        assert list(config.jobs) == ["b", "a"]
        assert list(config.jobs["b"].items()) == [
            ("reprocess_hours", 0.5),
            ("trunc_start", True),
            ("initial_date", "2025-12-31T23:00:00.000000"),
            ("z", 1),
            ("a", []),
            ("big", 12345678901234567890),
        ]
        assert config.jobs["a"] == {"trunc_start": False, "initial_date": "2026-07-01T12:00:00.000000"}
        assert config.disabled == {"a"}
        assert config.timezone == "Europe/Paris"
        assert config.infa == {"folder": "DWH", "dates": "powercenter"}

    def test_a_file_of_the_original_is_state_and_no_dag(self, write: Any):
        text = "job1: {param1: x, status: new, from_date: 2026-01-01}\njob2:\n"
        workflow = valid(write("wf1.yaml", text))
        assert not workflow.has_dag
        assert workflow.config().jobs == {
            "job1": {"param1": "x", "status": "new", "from_date": "2026-01-01"},
            "job2": {},
        }

    def test_a_single_job_of_the_original(self, write: Any):
        assert valid(write("wf1.yaml", "job: {nested: {param: 1}}\n")).original == {"job": {"nested": {"param": 1}}}

    def test_json(self, write: Any):
        assert valid(write("a.json", '{"jobs": {"a": {"bash": "\\ud83d\\ude00"}}}')).has_dag

    def test_disabled_workflow_has_no_dag(self, write: Any):
        assert not valid(write("a.yaml", "enabled: false\njobs: {a: {bash: x}}")).has_dag

    def test_notes_of_others_are_left_alone(self, write: Any):
        assert valid(write("a.yaml", "x-base: &b {bash: x}\njobs: {a: *b}")).config().jobs == {"a": {}}


class TestDefaults:
    def test_files_inherit_and_lay_their_own_over(self, write: Any, tmp_path: Path):
        write(
            "_defaults.yaml",
            "timezone: Europe/Paris\ntags: [etl]\ndefaults: {retries: 2, timeout: 1h, env: {A: 1, B: 2}}",
        )
        write("team/_defaults.yaml", "owner: team\ndefaults: {retries: 3, env: {B: 3}}")
        write("team/sales.yaml", "tags: [sales]\ndefaults: {timeout: 2h}\njobs: {a: {bash: x, env: {C: 4}}}")
        found = read_folder(tmp_path)
        assert found.diagnostics == []
        model = found.workflows["sales"].model
        assert model is not None
        assert (model.timezone, model.owner, model.tags) == ("Europe/Paris", "team", ["sales"])
        job = model.jobs["a"]
        assert setting(job, model, "retries") == 3
        assert setting(job, model, "timeout") == timedelta(hours=2)
        assert environment(job, model) == {"A": "1", "B": "3", "C": "4"}

    def test_a_wrong_key_is_told_and_left_out(self, write: Any, tmp_path: Path):
        write("_defaults.yaml", "timezon: UTC\nowner: team\ndefaults: {retries: x, pool: p}\njobs: {a: {bash: x}}\n")
        write("sales.yaml", "jobs: {a: {bash: x}}")
        found = read_folder(tmp_path)
        model = found.workflows["sales"].model
        assert model is not None
        assert (model.owner, model.defaults.pool, model.defaults.retries) == ("team", "p", None)
        assert [str(diagnostic).removeprefix(str(tmp_path)) for diagnostic in found.diagnostics] == [
            "/_defaults.yaml:1:1: timezon: unknown key; did you mean 'timezone'?",
            "/_defaults.yaml:3:21: defaults.retries: expected a whole number, not 'x'",
            "/_defaults.yaml:4:1: jobs: jobs cannot be inherited; write them in each file",
        ]

    def test_malformed_defaults_take_no_workflow_down(self, write: Any, tmp_path: Path):
        write("_defaults.yaml", "a: [")
        write("sales.yaml", "jobs: {a: {bash: x}}")
        found = read_folder(tmp_path)
        assert list(found.workflows) == ["sales"]
        assert len(found.diagnostics) == 1

    def test_files_of_the_original_inherit_nothing(self, write: Any, tmp_path: Path):
        write("_defaults.yaml", "timezone: Europe/Paris")
        write("wf1.yaml", "job1: {a: 1}")
        assert read_folder(tmp_path).workflows["wf1"].config().timezone == "UTC"


class TestFolder:
    def test_a_bad_file_never_hides_a_good_one(self, write: Any, tmp_path: Path):
        write("bad.yaml", "jobs: [")
        write("good.yaml", "jobs: {a: {bash: x}}")
        found = read_folder(tmp_path)
        assert list(found.workflows) == ["good"]
        assert [diagnostic.file for diagnostic in found.diagnostics] == [str(tmp_path / "bad.yaml")]

    def test_bundles_are_no_workflows(self, write: Any, tmp_path: Path):
        for name in ("a.yaml", "b.yml", "c.json", "team/d.yaml", "notes.txt", "_defaults.yaml", ".hidden.yaml"):
            write(name, "x")
        for name in ("bundles/e.yaml", "load/script.sh", "load/f.yaml", ".git/g.yaml", "__pycache__/h.yaml"):
            write(name, "x")
        names = [str(path.relative_to(tmp_path)) for path in find_files(tmp_path)]
        assert names == ["a.yaml", "b.yml", "c.json", "team/d.yaml"]

    def test_a_link_to_a_folder_above_is_not_followed(self, write: Any, tmp_path: Path):
        write("team/a.yaml", "jobs: {a: {bash: x}}")
        (tmp_path / "team" / "again").symlink_to(tmp_path)
        (tmp_path / "linked").symlink_to(write("../elsewhere/b.yaml", "jobs: {a: {bash: x}}").parent)
        assert sorted(read_folder(tmp_path).workflows) == ["a", "b"]

    def test_a_broken_link_is_told(self, write: Any, tmp_path: Path):
        (tmp_path / "a.yaml").symlink_to(tmp_path / "nowhere")
        assert [diagnostic.message for diagnostic in read_folder(tmp_path).diagnostics] == [
            "cannot be read: No such file or directory"
        ]

    def test_no_such_folder(self, tmp_path: Path):
        with pytest.raises(ConfigError, match=r"there is no folder .*/nowhere of workflow files; create it, or set"):
            read_folder(tmp_path / "nowhere")

    def test_one_workflow_by_name(self, write: Any, tmp_path: Path):
        write("sales.yaml", "jobs: {a: {bash: x}}")
        write("bad.yaml", "jobs: []")
        assert read_workflow(tmp_path, "sales").name == "sales"
        with pytest.raises(UnknownWorkflowError, match=r"no file of workflow 'sale' in .*; did you mean 'sales'\?"):
            read_workflow(tmp_path, "sale")
        with pytest.raises(InvalidFilesError, match=r"jobs: expected a mapping"):
            read_workflow(tmp_path, "bad")

    def test_the_same_name_twice(self, write: Any, tmp_path: Path):
        write("sales.yaml", "jobs: {a: {bash: x}}")
        write("team/sales.yml", "jobs: {b: {bash: x}}")
        found = read_folder(tmp_path)
        assert list(found.workflows["sales"].config().jobs) == ["a"]
        assert [str(diagnostic) for diagnostic in found.diagnostics] == [
            f"{tmp_path}/team/sales.yml: the workflow 'sales' is already defined by {tmp_path}/sales.yaml; "
            "rename one of the files"
        ]

    def test_one_file_is_found_as_all_are(self, write: Any, tmp_path: Path):
        for name in ("a.yml", "a.json", "team/b.yaml", "team/x/c.yaml", "c.yaml", "load/script.sh", "load/d.yaml"):
            write(name, '{"jobs": {"a": {"bash": "x"}}}')
        found = read_folder(tmp_path)
        for name in ("a", "b", "c"):
            assert find_file(tmp_path, name) == found.workflows[name].path
        assert find_file(tmp_path, "d") is None
        assert find_file(tmp_path, "_defaults") is None
