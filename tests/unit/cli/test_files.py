# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""``batchy add``, ``render`` and ``convert``."""

from __future__ import annotations

import io
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from batchy_provider.cli.main import main
from batchy_provider.config.reader import read_workflow

ROOT = Path(__file__).parents[3]


@pytest.fixture
def cfg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("BATCHY_CFG", raising=False)
    monkeypatch.chdir(tmp_path)
    shutil.copytree(ROOT / "cfg", tmp_path / "cfg")
    return tmp_path / "cfg"


@pytest.fixture
def run(cfg: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    def run(*arguments: str, code: int = 0) -> str:
        got = main(list(arguments))
        out, err = capsys.readouterr()
        assert got == code, out + err
        return out + err

    return run


class TestAdd:
    def test_all_else_stays_as_it_is(self, run: Any, cfg: Path):
        before = (cfg / "sales.yaml").read_text()
        said = run("add", "sales", "audit", "--after", "extract", "--bash", "echo x", "--input", "extract",
                   "--set", "retries=2", "--set", "params.level=[1, x]")  # fmt: skip
        assert said == "cfg/sales.yaml: added the job audit\n"
        added = (
            "  audit:\n    after: [extract]\n    bash: echo x\n    input: extract\n    retries: 2\n"
            "    params:\n      level: [1, x]\n"
        )
        assert (cfg / "sales.yaml").read_text() == before + added
        order = read_workflow(cfg, "sales").order
        assert order is not None
        assert order.upstream["audit"] == ("extract",)

    def test_the_last_job_is_followed_without_saying_so(self, run: Any, cfg: Path):
        run("add", "crm_extract", "publish", "--after", "check", "--bash", "echo x")
        run("add", "crm_extract", "mail", "--operator", "a.B", "--set", "args={to: x}")
        assert (
            (cfg / "crm_extract.yaml")
            .read_text()
            .endswith("  publish:\n    bash: echo x\n  mail:\n    operator: a.B\n    args:\n      to: x\n")
        )

    def test_a_job_that_would_be_wrong_is_not_added(self, run: Any, cfg: Path):
        before = (cfg / "sales.yaml").read_text()
        said = run("add", "sales", "audit", "--bundle", "lod", code=1)
        assert "jobs.audit.bundle: no bundle 'lod' in cfg or its folder bundles; did you mean 'load'?" in said
        assert " |     bundle: lod\n" in said
        assert "no job 'exract' in this file" in run("add", "sales", "x", "--bash", "x", "--after", "exract", code=1)
        assert "has a job 'load' already" in run("add", "sales", "load", "--bash", "x", code=1)
        assert "is a file of the original Batchy" in run("add", "wf1", "x", "--bash", "x", code=1)
        assert "no file of workflow 'sale'" in run("add", "sale", "x", "--bash", "x", code=1)
        assert "expected KEY=VALUE" in run("add", "sales", "x", "--bash", "x", "--set", "retries", code=2)
        assert (cfg / "sales.yaml").read_text() == before

    def test_only_to_show_it(self, run: Any, cfg: Path):
        before = (cfg / "sales.yaml").read_text()
        said = run("add", "sales", "audit", "--bash", "x", "--dry-run")
        assert "+  audit:\n+    bash: x\n" in said
        assert (cfg / "sales.yaml").read_text() == before


class TestRender:
    def test_for_people_and_for_programs(self, run: Any):
        assert run("render", "sales").startswith("sales (0 2 * * * Europe/Paris)\n  wait_for_crm_extract\n")
        assert run("render", "sales", "--format", "dot").startswith('digraph "sales" {')
        assert run("render", "sales", "--format", "svg").startswith("<svg ")
        assert json.loads(run("-o", "json", "render", "sales"))["load"] == {
            "kind": "job",
            "upstream": ["extract"],
            "note": "reads extract",
        }


class TestConvert:
    def test_a_crontab(self, run: Any, cfg: Path, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(sys, "stdin", io.StringIO("CRON_TZ=UTC\n# nightly\n0 2 * * * load.sh\n@reboot x\n"))
        said = run("convert", "crontab", "-")
        assert said.startswith(
            "cfg/load.yaml\n  left out: line 4: a workflow is not started by a reboot: @reboot x\n  cron "
        )
        assert (cfg / "load.yaml").read_text() == (
            "# nightly\nschedule: 0 2 * * *\ntimezone: UTC\njobs:\n  load:\n    bash: load.sh\n"
        )
        assert run("validate") == "no errors\n"

    def test_a_crontab_in_latin_1(self, run: Any, cfg: Path, tmp_path: Path):
        (tmp_path / "tab").write_bytes("CRON_TZ=UTC\n0 2 * * * load.sh é\n".encode("latin-1"))
        assert "read as Latin-1; the workflow files are UTF-8" in run("convert", "crontab", "tab")
        assert "bash: load.sh é" in (cfg / "load.yaml").read_text()
        (tmp_path / "tab").write_bytes("\ufeffCRON_TZ=UTC\n0 2 * * * other.sh é\n".encode())
        assert "Latin-1" not in run("convert", "crontab", "tab")
        assert "bash: other.sh é" in (cfg / "other.yaml").read_text()

    def test_nothing_is_written_over(self, run: Any, cfg: Path, tmp_path: Path):
        before = (cfg / "sales.yaml").read_text()
        (tmp_path / "tab").write_text("CRON_TZ=UTC\n0 1 * * * new.sh\n0 2 * * * sales.sh\n")
        assert "cannot overwrite cfg/sales.yaml; nothing was written" in run("convert", "crontab", "tab", code=1)
        assert not (cfg / "new.yaml").exists()
        assert "# cfg/sales.yaml\nschedule: 0 2 * * *\n" in run("convert", "crontab", "tab", "--dry-run")
        assert (cfg / "sales.yaml").read_text() == before
        run("convert", "crontab", "tab", "--force")
        assert (cfg / "sales.yaml").read_text() != before

    def test_files_of_the_original(self, run: Any, cfg: Path):
        said = json.loads(run("-o", "json", "convert", "batchy", "cfg", "--to", "new"))
        assert [each["file"] for each in said["files"]] == ["new/wf1.yaml"]
        assert "the original does not say what jobs run" in said["files"][0]["left"][0]
        assert "cfg/sales.yaml is not a file of the original" in said["left"]
        assert run("validate", "new") == "no errors\n"
