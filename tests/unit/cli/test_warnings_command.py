# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""`warnings`: which deadlines will probably be missed; and what `why` and `doctor` say about it."""

from __future__ import annotations

from pathlib import Path

import pytest
from command_line import Cli

from batchy_provider.config.reader import Reader
from batchy_provider.core.values import CloseRequest, OpenRequest
from batchy_provider.services.composition import Services

KEYS = {"workflow", "run", "deadline", "since", "chance", "expected_end", "evaluated", "text", "chain"}


@pytest.fixture
def cfg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workflow whose runs take an hour each, with half an hour until its deadline."""
    folder = tmp_path / "cfg"
    folder.mkdir(exist_ok=True)
    monkeypatch.setenv("BATCHY_CFG", str(folder))
    deadline = "deadline: {within: 30m, warn: true, notify: my.Pager}\n"
    (folder / "sales.yaml").write_text(f'schedule: "0 * * * *"\n{deadline}jobs: {{load: {{bash: "true"}}}}\n')
    return folder


def past(cli: Cli, cfg: Path) -> None:
    found, diagnostics = Reader(cfg).read(cfg / "sales.yaml")
    assert found is not None, diagnostics
    for seconds in (3500.0, 3600.0, 3700.0, 3650.0):
        batch = cli.store.open("sales", OpenRequest(config=found.config()))
        done = CloseRequest(result="success", batch_id=batch.batch_id, seconds={"load": seconds})
        cli.store.close("sales", done)


def evaluate(cli: Cli, cfg: Path) -> None:
    services = Services(store=lambda: cli.store, cfg=cfg)
    assert not services.warnings.evaluate(evaluator="one", scope="prod/batchy_warnings").errors


def test_a_warning_that_stands(cli: Cli, cfg: Path) -> None:
    past(cli, cfg)
    assert cli.json("warnings") == []
    assert "No warning stands" in cli("warnings") + cli.said
    evaluate(cli, cfg)
    (found,) = cli.json("warnings")
    assert found.keys() == KEYS
    assert (found["workflow"], found["chance"]) == ("sales", 1.0)
    assert cli.json("warnings", "sales") == [found]
    assert "100%" in cli("warnings")
    assert "Warned since" in cli("why", "sales") + cli.said
    assert set(cli.json("why", "sales")) == {"workflow", "code", "text", "chain"}


def test_an_unknown_workflow(cli: Cli, cfg: Path) -> None:
    cli("warnings", "sale", code=1)
    assert "did you mean 'sales'" in cli.said


def test_the_doctor_says_what_keeps_warnings_away(cli: Cli, cfg: Path) -> None:
    def said() -> list[str]:
        return [each["text"] for each in cli.json("doctor") if each["check"] == "warnings"]

    assert ["no probability" in text for text in said()] == [True]
    past(cli, cfg)
    assert ["were never evaluated" in text for text in said()] == [True]
    evaluate(cli, cfg)
    assert said() == ["1 workflows ask for warnings about their deadlines"]
    (cfg / "sales.yaml").write_text('jobs: {load: {bash: "true"}}\n')
    assert said() == []
