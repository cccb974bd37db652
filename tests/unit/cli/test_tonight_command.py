# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""`tonight`: the runs of a night in the terminal, those with problems first."""

from __future__ import annotations

from pathlib import Path

import pytest
from command_line import Cli

from batchy_provider.config.reader import Reader
from batchy_provider.core.values import CloseRequest, OpenRequest


@pytest.fixture
def cfg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """``sales`` has failed, ``crm`` has succeeded. Neither has a schedule."""
    folder = tmp_path / "cfg"
    folder.mkdir(exist_ok=True)
    monkeypatch.setenv("BATCHY_CFG", str(folder))
    for name in ("crm", "sales"):
        (folder / f"{name}.yaml").write_text('jobs: {load: {bash: "true"}}\n')
    return folder


@pytest.fixture
def night(cli: Cli, cfg: Path) -> Cli:
    for name, result in (("crm", "success"), ("sales", "failed")):
        found, _ = Reader(cfg).read(cfg / f"{name}.yaml")
        assert found is not None
        batch = cli.store.open(name, OpenRequest(config=found.config()))
        cli.store.close(name, CloseRequest(result=result, batch_id=batch.batch_id))
    return cli


def test_a_night_in_the_terminal(night: Cli) -> None:
    shown = night("tonight", "--timezone", "Europe/Berlin")
    assert shown.index("sales") < shown.index("crm")
    assert "failed" in shown
    assert "1 of 2 workflows have problems" in shown
    assert "(Europe/Berlin)" in shown
    assert "crm" not in night("tonight", "--problems")


def test_a_night_as_json(night: Cli) -> None:
    found = night.json("tonight")
    assert [row["workflow"] for row in found["items"]] == ["sales", "crm"]
    assert found["items"][0]["problems"] == ["failed"]
    assert found["items"][0]["runs"][0]["failed_jobs"] == ["load"]
    assert [row["workflow"] for row in night.json("tonight", "crm")["items"]] == ["crm"]
    assert night.json("tonight", "--search", "SAL")["total"] == 1
    other = night.json("tonight", "--from", "2026-01-01", "--to", "2026-01-02")
    assert [row["runs"] for row in other["items"]] == [[], []]


def test_no_workflow(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BATCHY_CFG", str(tmp_path / "nothing"))
    assert "No workflow from" in cli("tonight")


@pytest.mark.usefixtures("cfg")
def test_errors(night: Cli) -> None:
    night("tonight", "sals", code=1)
    assert "did you mean 'sales'" in night.said
    night("tonight", "--from", "yesterday", code=1)
    assert "ISO 8601" in night.said
    night("tonight", "--from", "2026-01-02", "--to", "2026-01-01", code=1)
    assert "before" in night.said
