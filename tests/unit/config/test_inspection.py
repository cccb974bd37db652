# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""What is found between files and in bundles, where each file is valid by itself."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import pytest

from batchy_provider.config.diagnostics import Diagnostic
from batchy_provider.config.excerpt import with_excerpts
from batchy_provider.config.inspection import inspect_folder
from batchy_provider.config.reader import Reader

JOB = "jobs: {a: {bash: x}}\n"


@pytest.fixture
def messages(tmp_path: Path) -> Any:
    def messages(**files: str) -> list[str]:
        for name, text in files.items():
            (tmp_path / f"{name}.yaml").write_text(text)
        return [str(diagnostic).removeprefix(f"{tmp_path}/") for diagnostic in inspect_folder(tmp_path)]

    return messages


class TestWaits:
    def test_valid_ones(self, messages: Any):
        assert (
            messages(
                crm=JOB,
                erp="x: {region: eu}\n",  # of the original: state that may be waited for
                sales=f"wait_for: [crm, {{workflow: erp, jobs: x}}]\n{JOB}",
                report=f"schedule: {{after: [sales, crm]}}\n{JOB}",
            )
            == []
        )

    def test_of_a_workflow_that_no_file_defines(self, messages: Any):
        assert messages(
            crm_extract=JOB,
            sales=f"wait_for: [crm_extrat, erp]\n{JOB}",
            report=f"schedule: {{after: [sale]}}\n{JOB}",
        ) == [
            "report.yaml:1:20: schedule.after[0]: no file defines the workflow 'sale'; did you mean 'sales'?",
            "sales.yaml:1:12: wait_for[0]: no file defines the workflow 'crm_extrat'; did you mean 'crm_extract'?",
            "sales.yaml:1:24: wait_for[1]: no file defines the workflow 'erp'",
        ]

    def test_a_workflow_whose_file_has_errors_is_not_missing(self, messages: Any):
        assert messages(crm="jobs: {a: {}}\n", sales=f"wait_for: crm\n{JOB}") == [
            "crm.yaml:1:8: jobs.a: the job does nothing yet; give it one of bundle, bash or operator"
        ]

    def test_of_a_job_that_is_none(self, messages: Any):
        assert messages(
            crm="jobs: {load: {bash: x}, page: {bash: x, when: failed}}\n",
            sales=f"wait_for: {{workflow: crm, jobs: [loda, page]}}\n{JOB}",
        ) == [
            "sales.yaml:1:34: wait_for.jobs[0]: the workflow 'crm' has no job 'loda'; did you mean 'load'?",
            "sales.yaml:1:40: wait_for.jobs[1]: 'page' of 'crm' is a handler (when: failed) and never succeeds",
        ]

    def test_in_a_cycle(self, messages: Any):
        assert messages(
            a=f"wait_for: b\n{JOB}",
            b=f"wait_for: [d, c]\n{JOB}",
            c=f"schedule: {{after: a}}\n{JOB}",
            d=JOB,
            e=f"wait_for: f\n{JOB}",
            f=f"wait_for: e\n{JOB}",
        ) == [
            "a.yaml:1:11: wait_for: workflows wait for each other in a cycle: a → b → c → a",
            "e.yaml:1:11: wait_for: workflows wait for each other in a cycle: e → f → e",
        ]

    def test_any_success_however_old_closes_no_cycle(self, messages: Any):
        assert messages(a=f"wait_for: {{workflow: b, scope: any}}\n{JOB}", b=f"wait_for: a\n{JOB}") == []

    def test_inherited_from_defaults(self, messages: Any):
        assert messages(_defaults="wait_for: nobody\n", a=JOB) == [
            "a.yaml:1:1: wait_for[0].workflow: no file defines the workflow 'nobody'"
        ]


class TestNames:
    def test_twice(self, messages: Any, tmp_path: Path):
        (tmp_path / "team").mkdir()
        (tmp_path / "team" / "a.yaml").write_text(JOB)
        assert messages(a=JOB) == [
            "team/a.yaml: the workflow 'a' is already defined by CFG/a.yaml; rename one of the files"
        ]

    def test_like_a_history_key_in_redis(self, messages: Any):
        (diagnostic,) = messages(**{"sales-1467149783": JOB})
        assert "which is how the key of an old batch ends" in diagnostic


class TestBundles:
    def zip(self, path: Path, **files: bytes) -> None:
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in files.items():
                archive.writestr(name.replace("_sh", ".sh"), content)

    def test_valid_ones(self, messages: Any, tmp_path: Path):
        self.zip(tmp_path / "good.zip", script_sh=b"exit 1")
        assert (
            messages(a="jobs: {a: {bundle: good.zip}, b: {bundle: 's3://far/away.zip'}, c: {bundle: '{{ ds }}.zip'}}\n")
            == []
        )

    def test_no_zip(self, messages: Any, tmp_path: Path):
        (tmp_path / "bad.zip").write_text("hello")
        (diagnostic,) = messages(a="jobs:\n  a: {bundle: bad.zip}\n")
        assert diagnostic == (
            "a.yaml:2:15: jobs.a.bundle: Bundle CFG/bad.zip refused: it is not a zip file. "
            "Expected a zip, or a folder, with a script.sh at its root."
        )

    def test_no_script(self, messages: Any, tmp_path: Path):
        self.zip(tmp_path / "bad.zip", other=b"")
        (diagnostic,) = messages(a="jobs:\n  a: {bundle: bad.zip}\n")
        assert "a.yaml:2:15: jobs.a.bundle: Bundle CFG/bad.zip refused: " in diagnostic
        assert "script.sh" in diagnostic

    def test_damaged_data(self, messages: Any, tmp_path: Path):
        self.zip(tmp_path / "bad.zip", script_sh=b"echo hello")
        raw = (tmp_path / "bad.zip").read_bytes()
        (tmp_path / "bad.zip").write_bytes(raw.replace(b"hello", b"hullo"))
        (diagnostic,) = messages(a="jobs:\n  a: {bundle: bad.zip}\n")
        assert "The zip is damaged or forged" in diagnostic

    def test_not_the_pinned_one(self, messages: Any, tmp_path: Path):
        self.zip(tmp_path / "good.zip", script_sh=b"exit 1")
        (diagnostic,) = messages(a=f"jobs:\n  a: {{bundle: good.zip, sha256: {'a' * 64}}}\n")
        assert "is pinned" in diagnostic

    def test_a_link_in_a_folder(self, messages: Any, tmp_path: Path):
        (tmp_path / "folder").mkdir()
        (tmp_path / "folder" / "script.sh").touch()
        (tmp_path / "folder" / "link").symlink_to("/etc/hostname")
        (diagnostic,) = messages(a="jobs:\n  a: {bundle: folder}\n")
        assert diagnostic == (
            "a.yaml:2:15: jobs.a.bundle: Bundle CFG/folder refused, entry 'link': "
            "it is a link; put a copy of the file in its place."
        )


@pytest.fixture(autouse=True)
def _cfg_for_the_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    plain = Diagnostic.__str__
    monkeypatch.setattr(Diagnostic, "__str__", lambda diagnostic: plain(diagnostic).replace(f" {tmp_path}/", " CFG/"))


class TestExcerpts:
    def excerpt(self, tmp_path: Path, text: str) -> list[str]:
        path = tmp_path / "a.yaml"
        path.write_bytes(text.encode())
        return [each.partition("\n")[2] for each in with_excerpts(Reader(tmp_path).read(path)[1])]

    def test_the_line_and_a_caret_at_the_column(self, tmp_path: Path):
        assert self.excerpt(tmp_path, "retries: 1\njobs:\n  größe: {bash: x, retries: no}\n") == [
            "    1 | retries: 1\n      | ^",
            "    3 |   größe: {bash: x, retries: no}\n      |                             ^",
        ]

    def test_a_tab_is_as_wide_as_a_blank(self, tmp_path: Path):
        assert self.excerpt(tmp_path, 'jobs: {a: {bash: "\t", retries: x}}') == [
            '    1 | jobs: {a: {bash: " ", retries: x}}\n      |                                ^'
        ]

    def test_of_a_long_line_what_is_about_the_column(self, tmp_path: Path):
        (shown,) = self.excerpt(tmp_path, f"jobs: {{a: {{bash: {'y' * 300}, retries: x, doc: {'z' * 300}}}}}")
        line, caret = shown.split("\n")
        assert line[caret.index("^")] == "x"
        assert len(line) <= 130

    def test_at_the_end_of_a_file(self, tmp_path: Path):
        assert self.excerpt(tmp_path, "jobs: {\r\n") == ["    2 | \n      | ^"]

    def test_none_where_there_is_no_line(self, tmp_path: Path):
        assert self.excerpt(tmp_path, "") == [""]
