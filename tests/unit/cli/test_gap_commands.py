# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""`gaps` and `fill`: what they show, start and refuse, with this machine's Airflow and by the REST API."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from answering_server import Answering
from command_line import Cli
from fake_dag_runs import FakeDagRuns

from batchy_provider.cli.context import Context
from batchy_provider.cli.main import main
from batchy_provider.core.values import CloseRequest, OpenRequest, Window, WorkflowConfig

SALES = WorkflowConfig(name="sales", jobs={"extract": {}, "load": {}})
WINDOWS = [("2026-11-01", "2026-11-03"), ("2026-11-06", "2026-11-07")]


@pytest.fixture
def gap(cli: Cli) -> str:
    """The workflow ``sales`` without its data of 3 to 5 November."""
    for start, end in WINDOWS:
        window = Window(from_date=start, to_date=end)
        batch = cli.store.open("sales", OpenRequest(config=SALES, window=window, move_watermark=True))
        cli.store.close("sales", CloseRequest(result="success", batch_id=batch.batch_id))
    return "sales"


@pytest.fixture
def airflow(monkeypatch: pytest.MonkeyPatch) -> FakeDagRuns:
    """Runs of DAGs, as if the user had named a connection of this machine's Airflow."""
    runs = FakeDagRuns()
    monkeypatch.setattr(Context, "dag_runs", runs)
    return runs


def spans(rows: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(row["from_date"], row["to_date"]) for row in rows]


DAYS = [(f"2026-11-{day:02}T00:00:00.000000", f"2026-11-{day + 1:02}T00:00:00.000000") for day in (3, 4, 5)]


class TestGaps:
    def test_each_job_and_its_gap(self, cli: Cli, gap: str) -> None:
        found = cli.json("gaps")
        assert found == cli.json("gaps", gap, gap)
        assert found[0] == {
            "workflow": "sales",
            "job": "extract",
            "from_date": "2026-11-03T00:00:00.000000",
            "to_date": "2026-11-06T00:00:00.000000",
        }
        assert [row["job"] for row in found] == ["extract", "load"]
        shown = cli("gaps")
        assert "2026-11-03 00:00:00" in shown
        assert "72h00m" in shown

    def test_without_gaps_it_says_so(self, cli: Cli, sales: str) -> None:
        assert "No gaps" in cli("gaps")
        assert cli.json("gaps", sales) == []

    def test_an_empty_redis_has_none(self, cli: Cli) -> None:
        assert cli.json("gaps") == []

    def test_an_unknown_workflow_is_an_error_that_hides_no_other(self, cli: Cli, gap: str) -> None:
        assert "extract" in cli("gaps", "nobody", gap, code=1)
        assert "nobody" in cli.said

    def test_an_unknown_workflow_alone_has_no_empty_table(self, cli: Cli) -> None:
        for command in ("gaps", "warnings"):
            assert cli(command, "missing", code=1) == ""
            assert "workflow 'missing' is " in cli.said

    def test_a_workflow_that_cannot_be_read_is_named_and_hides_no_other(self, cli: Cli, gap: str) -> None:
        cli.store.backend.client.hset("damaged", "load", '{"status": "success", "batch_id": 1}')
        cli.store.backend.client.hset("damaged:loaded", "load", "[[1]]")
        assert len(cli.json("gaps")) == 2
        assert "damaged cannot be read" in cli.said


class TestFill:
    def test_a_dry_run_needs_only_redis(self, cli: Cli, gap: str) -> None:
        found = cli.json("fill", gap, "--dry-run")
        assert spans(found) == DAYS
        assert {row["run_id"] for row in found} == {None}
        assert [*found[0]] == ["from_date", "to_date", "run_id"]
        assert len(cli.json("fill", gap, "--dry-run", "--every", "12h", "--at-most", "2")) == 2
        asked = cli.json("fill", gap, "--dry-run", "--from", "2026-11-01", "--to", "2026-11-03T12:00")
        assert [row["to_date"][:13] for row in asked] == ["2026-11-02T00", "2026-11-03T00", "2026-11-03T12"]

    def test_it_starts_the_runs_and_a_second_one_finds_them(self, cli: Cli, gap: str, airflow: FakeDagRuns) -> None:
        found = cli.json("fill", gap, "--why", "late files", "--by", "vera")
        assert spans(found) == DAYS
        assert [row["run_id"] for row in found] == list(airflow.runs)
        assert cli.json("fill", gap) == found
        assert "is queued" in cli.said
        change = cli.json("history", gap, "--changes")[0]
        assert (change["by"], change["why"], change["source"]) == ("vera", "late files", "cli")

    def test_without_gaps_it_says_so(self, cli: Cli, sales: str, airflow: FakeDagRuns) -> None:
        assert "has no gaps" in cli("fill", sales)
        assert cli.json("fill", sales) == []

    def test_a_paused_dag_is_said(self, cli: Cli, gap: str, airflow: FakeDagRuns) -> None:
        airflow.paused = True
        assert airflow.runs == {}
        assert "batchy_fill__" in cli("fill", gap)
        assert "airflow dags unpause sales" in cli.said

    @pytest.mark.parametrize(
        ("arguments", "code", "message"),
        [
            (["nobody"], 1, "nobody"),
            (["sales", "--every", "0s"], 2, "no length"),
            (["sales", "--to", "2026-11-01"], 2, "--from"),
            (["sales", "--from", "2026-11-03", "--to", "2026-11-01"], 1, "is empty"),
            (["sales", "--from", "2026-11-03", "--to", "2999-01-01"], 1, "in the future"),
            (["sales", "--from", "soon"], 1, "not a date"),
            (["sales", "--from", "2020-01-01"], 1, "more than 400"),
        ],
    )
    def test_what_it_refuses(
        self, cli: Cli, gap: str, airflow: FakeDagRuns, arguments: list[str], code: int, message: str
    ) -> None:
        assert cli("fill", *arguments, code=code) == ""
        assert message in cli.said
        assert airflow.runs == {}

    def test_without_an_airflow_it_says_how_to_reach_one(self, cli: Cli, gap: str) -> None:
        cli("fill", gap, code=2)
        assert "--api URL" in cli.said
        assert "airflow batchy fill sales" in cli.said


RUN = {"from_date": DAYS[0][0], "to_date": DAYS[0][1], "run_id": "batchy_fill__1"}
NOTE = {"code": "dag_paused", "text": "The DAG is paused."}


class TestFillByRest:
    @pytest.fixture
    def token(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
        monkeypatch.delenv("BATCHY_REDIS_URL", raising=False)
        file = tmp_path / "token"
        file.write_text("secret\n")
        return str(file)

    def test_the_server_does_it(self, token: str, capsys: pytest.CaptureFixture[str]) -> None:
        with Answering(200, {"runs": [RUN], "created": ["batchy_fill__1"], "notes": [NOTE]}) as server:
            call = ["-o", "json", "fill", "sales", "--api", server.url, "--token-file", token, "--every", "36h"]
            assert main([*call, "--from", "2026-11-03", "--at-most", "3", "--why", "late", "--dry-run"]) == 0
        assert server.asked == (
            "/batchy/api/v1/workflows/sales/fill",
            "Bearer secret",
            {"from_date": "2026-11-03", "every": "1d12h", "at_most": 3, "dry_run": True, "why": "late"},
        )
        out, said = capsys.readouterr()
        assert json.loads(out) == [RUN]
        assert "The DAG is paused." in said

    @pytest.mark.parametrize(("status", "code"), [(401, 2), (403, 1), (404, 1), (422, 1), (503, 1)])
    def test_what_the_server_refuses_is_an_error(
        self, token: str, capsys: pytest.CaptureFixture[str], status: int, code: int
    ) -> None:
        with Answering(status, {"detail": "no such thing"}) as server:
            assert main(["fill", "sales", "--api", server.url, "--token-file", token]) == code
        out, said = capsys.readouterr()
        assert (out, "no such thing" in said) == ("", True)

    def test_a_server_that_is_gone_is_an_error(self, token: str, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["fill", "sales", "--api", "http://127.0.0.1:1", "--token-file", token]) == 1
        assert "cannot be reached" in capsys.readouterr().err
