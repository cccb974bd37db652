# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""`plan`: the expected runs of the next hours, from files, Redis and how long past runs took."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from command_line import Cli

from batchy_provider.config.reader import Reader
from batchy_provider.core.values import CloseRequest, OpenRequest

KEYS = {
    "workflow",
    "due",
    "state",
    "start",
    "end_p50",
    "end_p90",
    "waits_for",
    "deadline",
    "miss_probability",
    "critical_path",
}


@pytest.fixture
def cfg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two workflows, one of which waits for the other; both are due at each full hour."""
    folder = tmp_path / "cfg"
    folder.mkdir(exist_ok=True)
    monkeypatch.setenv("BATCHY_CFG", str(folder))
    jobs = 'jobs: {extract: {bash: "true"}, load: {bash: "true"}}\n'
    (folder / "erp.yaml").write_text(f'schedule: "0 * * * *"\n{jobs}')
    waits = "wait_for: [{workflow: erp, scope: due}]\ndeadline: {within: 30m, notify: [my.Notifier]}\n"
    (folder / "sales.yaml").write_text(f'schedule: "0 * * * *"\n{waits}{jobs}')
    return folder


def past(cli: Cli, cfg: Path, *names: str, runs: int = 5, seconds: float = 600.0) -> None:
    """Let each job have taken about so long, in so many runs."""
    for name in names:
        found, diagnostics = Reader(cfg).read(cfg / f"{name}.yaml")
        assert found is not None, diagnostics
        config = found.config()
        for number in range(runs):
            batch = cli.store.open(name, OpenRequest(config=config))
            longer = seconds * (0.9 + 0.2 * number / (runs - 1))
            took = {"extract": longer, "load": longer / 2}
            cli.store.close(name, CloseRequest(result="success", batch_id=batch.batch_id, seconds=took))


def next_runs(cli: Cli, *arguments: str) -> dict[str, dict[str, Any]]:
    """Return the first run of each workflow that is not running."""
    found: dict[str, dict[str, Any]] = {}
    for run in cli.json("plan", *arguments):
        assert run.keys() == KEYS
        if run["state"] == "expected":
            found.setdefault(run["workflow"], run)
    return found


def minutes_between(start: str, end: str) -> float:
    return (datetime.fromisoformat(end) - datetime.fromisoformat(start)) / timedelta(minutes=1)


def test_a_chain_of_two(cli: Cli, cfg: Path) -> None:
    past(cli, cfg, "erp", "sales")
    runs = next_runs(cli, "--hours", "3")
    erp, sales = runs["erp"], runs["sales"]
    assert erp["start"] == erp["due"]
    assert minutes_between(erp["due"], erp["end_p50"]) == pytest.approx(15, abs=2)
    assert sales["waits_for"] == ["erp"]
    assert minutes_between(erp["end_p50"], sales["start"]) == pytest.approx(0, abs=2)
    assert minutes_between(sales["due"], sales["deadline"]) == 30
    assert 0 < sales["miss_probability"] < 1
    steps = [{"workflow": "erp", "job": "extract"}, {"workflow": "sales", "job": "extract"}]
    assert sales["critical_path"] == steps
    alone = next_runs(cli, "sales", "--hours", "3")
    assert list(alone) == ["sales"]
    if alone["sales"]["due"] == sales["due"]:  # no full hour has passed meanwhile
        assert alone["sales"] == sales


def test_without_history_the_end_is_unknown(cli: Cli, cfg: Path) -> None:
    past(cli, cfg, "erp", "sales", runs=2)
    for run in next_runs(cli).values():
        assert (run["end_p50"], run["end_p90"], run["miss_probability"]) == (None, None, None)
        assert run["critical_path"] == []
    shown = cli("plan")
    assert "unknown" in shown
    assert "three" in shown + cli.said


def test_an_open_batch_is_running(cli: Cli, cfg: Path) -> None:
    past(cli, cfg, "erp")
    cli.store.open("erp", OpenRequest())
    (run,) = [each for each in cli.json("plan", "erp", "--hours", "1") if each["state"] == "running"]
    assert minutes_between(run["start"], run["end_p50"]) == pytest.approx(15, abs=2)


def test_a_table_for_people(cli: Cli, cfg: Path) -> None:
    past(cli, cfg, "erp", "sales")
    shown = " ".join(cli("plan", "--hours", "2").split())
    for word in ("erp", "sales", "expected", "extract"):
        assert word in shown


def test_nothing_to_expect(cli: Cli) -> None:
    assert cli.json("plan") == []
    assert "No run is expected" in cli("plan") + cli.said


@pytest.mark.parametrize("hours", ["0", "-1", "nan", "inf", "1000"])
def test_hours_that_are_not_possible(cli: Cli, hours: str) -> None:
    cli("plan", "--hours", hours, code=2)


def test_an_unknown_workflow_is_named(cli: Cli, cfg: Path) -> None:
    cli("plan", "sals", code=1)
    assert "sales" in cli.said


def test_damaged_durations_of_one_workflow_hide_no_other(cli: Cli, cfg: Path) -> None:
    past(cli, cfg, "erp", "sales")
    client = cli.store.backend.client
    client.hset("sales:durations", mapping={"extract": "junk", "load": json.dumps([["soon", 1, 2]])})
    runs = next_runs(cli)
    assert runs["erp"]["end_p50"] is not None
    assert runs["sales"]["end_p50"] is None
    client.delete("sales:durations")
    client.set("sales:durations", "of another program")
    assert next_runs(cli)["sales"]["end_p50"] is None


def test_impact_knows_the_probability(cli: Cli, cfg: Path) -> None:
    from batchy_provider.services.composition import Services

    past(cli, cfg, "erp", "sales")
    found = Services(store=lambda: cli.store, cfg=cfg).why.impact("erp")
    (affected,) = found.downstream
    assert affected.miss_probability is not None
    assert 0 < affected.miss_probability < 1
