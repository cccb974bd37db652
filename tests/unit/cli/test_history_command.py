# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""`batchy history` without a workflow, and with conditions: what it prints, and which options it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest
from command_line import Cli

from batchy_provider.core.values import CloseRequest, OpenRequest, WorkflowConfig
from batchy_provider.core.vocabulary import Result


def batch(cli: Cli, workflow: str, result: Result = "success") -> int:
    opened = cli.store.open(workflow, OpenRequest(config=WorkflowConfig(name=workflow, jobs={"load": {}})))
    cli.store.close(workflow, CloseRequest(result=result, batch_id=opened.batch_id))
    return opened.batch_id


def ids(cli: Cli, *arguments: str) -> list[tuple[str, int]]:
    return [(row["workflow"], row["batch_id"]) for row in cli.json("history", *arguments)]


def test_without_a_workflow_the_batches_of_all_are_shown(cli: Cli) -> None:
    crm, shop = batch(cli, "crm", "failed"), batch(cli, "shop")
    assert {*ids(cli)} == {("crm", crm), ("shop", shop)}
    assert ids(cli, "--status", "failed") == [("crm", crm)]
    assert ids(cli, "--status", "failed", "--job", "load", "--last", "1h") == [("crm", crm)]
    assert ids(cli, "--to", "2020-01-01") == []
    shown = cli("history", "--not-acknowledged")
    assert "crm" in shown
    assert "shop" not in shown
    cli("ack", "crm", "--batch", str(crm), "ticket 4711")
    assert "acknowledged" in cli("history", "--acknowledged")
    assert ids(cli, "--not-acknowledged") == []
    assert "No such batch" in cli("history", "--not-acknowledged")


def test_a_workflow_with_conditions_has_the_same_json_as_without(cli: Cli, sales: str) -> None:
    batch(cli, "crm", "failed")
    (whole,) = cli.json("history", sales)
    assert cli.json("history", sales, "--status", "success") == [whole]
    assert cli.json("history", sales, "--status", "failed") == []


def test_pages_follow_each_other(cli: Cli) -> None:
    made = {("crm", batch(cli, "crm")) for _ in range(3)}
    first = ids(cli, "--limit", "2")
    assert "--below" in cli.said
    below = cli.said.split("--below ")[1].split()[0]
    batch(cli, "crm")
    second = ids(cli, "--limit", "2", "--below", below)
    assert cli.said == ""
    assert {*first, *second} == made
    assert len(first) + len(second) == 3


def test_batches_that_only_the_archive_has_are_listed_and_marked(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BATCHY_RESULTS", str(tmp_path / "results"))
    made = [batch(cli, "crm") for _ in range(4)][::-1]
    cli("archive", "crm")
    cli("prune", "crm", "--keep", "1", "--no-results")
    for arguments in ([], ["--status", "success"]):
        rows = cli.json("history", "crm", *arguments)
        assert {(row["batch_id"], row["archived"]) for row in rows} == {(each, each != made[0]) for each in made}
        assert len(rows) == 4
        assert "3 batches of crm that Redis lacks" in cli.said
        assert cli("history", "crm", *arguments).count("only in the archive") == 3
    assert [row["batch_id"] for row in cli.json("history", "crm", "--limit", "2")] == made[:2]
    assert [row["batch_id"] for row in cli.json("history", "crm", "--offset", "2")] == made[2:]
    assert ids(cli) == [("crm", made[0])]
    assert "only the archive has it" in cli("compare", "crm", "--batch", str(made[2]))
    assert cli.json("compare", "crm", "--batch", str(made[0]), "--with", str(made[2]))["other"]["batch_id"] == made[2]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--changes"], "--changes needs a WORKFLOW"),
        (["--offset", "3"], "--offset needs a WORKFLOW"),
        (["sales", "--status", "failed", "--offset", "3"], "--below"),
        (["--last", "1h", "--from", "2026-11-29"], "--last or --from"),
        (["--limit", "0"], "--limit"),
    ],
)
def test_options_that_do_not_go_together_are_refused(cli: Cli, sales: str, arguments: list[str], said: str) -> None:
    assert cli("history", *arguments, code=2) == ""
    assert said in cli.said


def test_what_is_no_date_or_workflow_is_one_line_on_stderr(cli: Cli) -> None:
    for arguments in (
        ["--from", "noon"],
        ["nope", "--status", "failed"],
        ["--from", "2026-11-30", "--to", "2026-11-29"],
    ):
        assert cli("history", *arguments, code=1) == ""
        assert cli.said.startswith("batchy: ")
        assert cli.said.count("\n") == 1


def test_a_batch_is_compared_with_the_last_good_one(cli: Cli) -> None:
    good, bad = batch(cli, "crm"), batch(cli, "crm", "failed")
    found = cli.json("compare", "crm", "--batch", str(bad))
    assert (found["batch"]["batch_id"], found["other"]["batch_id"], found["first_job"]) == (bad, good, "load")
    shown = cli("compare", "crm", "--batch", str(bad))
    assert "load differs first: failed instead of success" in shown
    assert "no difference" in cli("compare", "crm", "--batch", str(bad), "--with", str(bad))
    assert "no earlier batch" in cli("compare", "crm", "--batch", str(good))
    assert cli("compare", "crm", "--batch", "1", code=1) == ""
