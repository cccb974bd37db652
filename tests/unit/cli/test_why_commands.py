# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""`why` and `impact`: their tables and JSON, what they refuse, and the way over the REST API."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from answering_server import Answering
from command_line import Cli

from batchy_provider.cli.main import main
from batchy_provider.hooks import airflow_database
from batchy_provider.plan.airflow_facts import AirflowFacts, DagFacts

CRM = 'schedule: "0 0 * * *"\njobs: {load: {bash: "true"}}\n'
REPORT = (
    'schedule: "0 1 * * *"\nwait_for: crm\ndeadline: {within: 2h, notify: my.Pager}\njobs: {load: {bash: "true"}}\n'
)


@pytest.fixture
def cfg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with `crm` and `report`, which waits for it."""
    folder = tmp_path / "cfg"
    folder.mkdir()
    (folder / "crm.yaml").write_text(CRM)
    (folder / "report.yaml").write_text(REPORT)
    monkeypatch.setenv("BATCHY_CFG", str(folder))
    monkeypatch.setenv("BATCHY_RESULTS", str(tmp_path / "results"))
    return folder


@pytest.fixture
def failed(cli: Cli, cfg: Path) -> None:
    """The batch of `crm` has failed."""
    cli("open", "crm", "--by", "ann")
    cli("fail", "crm", "--why", "bad file", "--by", "ann")


class TestWhy:
    @pytest.mark.usefixtures("failed")
    def test_its_json_has_the_chain_with_the_root_last(self, cli: Cli) -> None:
        found = cli.json("why", "report")
        assert list(found) == ["workflow", "code", "text", "chain"]
        assert (found["workflow"], found["code"]) == ("report", "waiting")
        assert [[link["workflow"], link["code"]] for link in found["chain"]] == [
            ["report", "waiting"],
            ["crm", "failed"],
        ]
        assert list(found["chain"][0]) == ["workflow", "code", "text"]
        assert found["text"].startswith("crm has failed: job load of batch")
        assert "bad file" in found["text"]

    @pytest.mark.usefixtures("failed")
    def test_people_read_the_root_cause_first_and_then_the_chain(self, cli: Cli) -> None:
        lines = cli("why", "report").splitlines()
        assert lines[0].startswith("crm has failed")
        assert lines[0].endswith("So report waits for crm")
        words = [line.split()[:2] for line in lines if line.strip()]
        assert words[-2:] == [["report", "waiting"], ["crm", "failed"]]
        assert len(cli("why", "crm").splitlines()) == 1, "a chain of one is not shown twice"
        rows = [line.split("\t")[:2] for line in cli("-o", "plain", "why", "report").splitlines()]
        assert rows == [["report", "waiting"], ["crm", "failed"]]

    @pytest.mark.usefixtures("cfg")
    def test_an_unknown_workflow_is_an_error_with_the_nearest_name(self, cli: Cli) -> None:
        assert cli("why", "reprot", code=1) == ""
        assert "did you mean 'report'" in cli.said
        cli("impact", "reprot", code=1)
        assert "did you mean 'report'" in cli.said

    @pytest.mark.usefixtures("cfg")
    def test_with_an_airflow_it_says_more(
        self, redis_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setenv("AIRFLOW_CONN_NIGHT", redis_url)
        facts = AirflowFacts(dags={"crm": DagFacts(paused=True)})
        monkeypatch.setattr(airflow_database, "read_airflow", lambda dag_ids: facts)
        assert main(["--connection", "night", "-o", "json", "why", "crm"]) == 0
        assert json.loads(capsys.readouterr().out)["code"] == "paused"

    @pytest.mark.usefixtures("cfg")
    def test_an_airflow_without_database_is_left_out_with_a_note(
        self, redis_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        def read(dag_ids: object) -> AirflowFacts:
            raise RuntimeError("no such table: dag\n[SQL: SELECT …]")

        monkeypatch.setenv("AIRFLOW_CONN_NIGHT", redis_url)
        monkeypatch.setattr(airflow_database, "read_airflow", read)
        assert main(["--connection", "night", "-o", "json", "why", "crm"]) == 0
        out, said = capsys.readouterr()
        assert json.loads(out)["code"] == "not_due"
        assert said == "batchy: Airflow is not asked, since its database cannot be read: no such table: dag\n"


class TestImpact:
    @pytest.mark.usefixtures("cfg")
    def test_its_json_names_who_is_affected(self, cli: Cli) -> None:
        found = cli.json("impact", "crm", "--failed")
        assert list(found) == ["workflow", "downstream"]
        (report,) = found["downstream"]
        assert list(report) == ["workflow", "via", "deadline", "miss_probability"]
        assert report["via"] == [{"workflow": "crm", "by": "wait_for"}]
        assert report["deadline"].endswith("T03:00:00.000000")
        assert report["miss_probability"] == 1.0
        assert cli.json("impact", "crm")["downstream"][0]["miss_probability"] is None
        assert cli.json("impact", "crm", "--late", "1m")["downstream"][0]["miss_probability"] is None

    @pytest.mark.usefixtures("cfg")
    def test_people_read_it_in_words(self, cli: Cli) -> None:
        assert "certainly" in cli("impact", "crm", "--late", "30h")
        assert "unknown" in cli("impact", "crm")
        assert cli("impact", "report") == "No workflow needs report.\n"
        assert cli("-o", "plain", "impact", "report") == ""
        assert cli.json("impact", "report") == {"workflow": "report", "downstream": []}

    @pytest.mark.usefixtures("cfg")
    def test_what_it_refuses(self, cli: Cli) -> None:
        cli("impact", "crm", "--late", "0s", code=2)
        assert "above zero" in cli.said
        with pytest.raises(SystemExit):
            cli("impact", "crm", "--late", "2h", "--failed")


class TestByRest:
    @pytest.fixture(autouse=True)
    def token(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("BATCHY_TOKEN", "secret")
        for name in ("BATCHY_REDIS_URL", "BATCHY_API", "BATCHY_CFG"):
            monkeypatch.delenv(name, raising=False)

    def test_the_server_answers(self, capsys: pytest.CaptureFixture[str]) -> None:
        link = {"workflow": "crm", "code": "paused", "text": "crm is paused in Airflow"}
        answer = {**link, "chain": [link]}
        with Answering(200, answer) as server:
            assert main(["-o", "json", "why", "crm", "--api", server.url]) == 0
        assert json.loads(capsys.readouterr().out) == answer
        assert server.asked is not None
        assert server.asked[0] == "/batchy/api/v1/workflows/crm/why"

    def test_what_is_supposed_goes_along(self, capsys: pytest.CaptureFixture[str]) -> None:
        with Answering(200, {"workflow": "crm", "downstream": []}) as server:
            assert main(["impact", "crm", "--late", "90m", "--api", server.url]) == 0
            assert server.asked[0].endswith("/crm/impact?late=1h30m")
            assert main(["impact", "crm", "--failed", "--api", server.url]) == 0
            assert server.asked[0].endswith("/crm/impact?failed=true")
        assert capsys.readouterr().out == "No workflow needs crm.\n" * 2

    def test_what_the_server_refuses_is_an_error(self, capsys: pytest.CaptureFixture[str]) -> None:
        with Answering(404, {"detail": "workflow 'crm' is in neither Redis nor a file"}) as server:
            assert main(["why", "crm", "--api", server.url]) == 1
        assert "neither Redis" in capsys.readouterr().err
        with Answering(401, {"detail": "no"}) as server:
            assert main(["why", "crm", "--api", server.url]) == 2
        assert main(["why", "crm", "--api", server.url]) == 1
        assert "cannot be reached" in capsys.readouterr().err
