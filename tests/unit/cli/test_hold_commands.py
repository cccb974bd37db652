# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""`hold`, `release`, `note` and `ack`, and where else a command shows what they say."""

from __future__ import annotations

from pathlib import Path

import pytest
from command_line import FILE, Cli

UNTIL = "2999-11-30T06:00:00.000000"
HOLD = {"workflow": "sales", "until": UNTIL, "by": "anna", "why": "migration"}


@pytest.fixture
def held(cli: Cli, sales: str) -> str:
    cli("hold", sales, "--until", "2999-11-30T06:00", "--why", "migration")
    return sales


@pytest.fixture
def failed(cli: Cli, sales: str) -> str:
    """The id of a batch that has failed."""
    body = cli.json("open", sales)
    cli("fail", sales)
    return str(body["load"]["batch_id"])


class TestHold:
    def test_it_answers_with_the_hold_and_open_is_refused(self, cli: Cli, sales: str) -> None:
        assert cli.json("hold", sales, "--until", "2999-11-30T06:00", "--why", "migration") == HOLD
        before = cli.json("status", sales)
        for arguments in ([], ["--take-over"], ["--from", "2026-01-01", "--to", "2026-01-02"]):
            cli("open", sales, *arguments, code=1)
            assert "sales is on hold since" in cli.said
            assert "until 2999-11-30T06:00:00 UTC, by anna: migration" in cli.said
        assert cli.json("status", sales) == before

    def test_a_person_says_it_in_words(self, cli: Cli, sales: str) -> None:
        said = cli("hold", sales, "--until", "2999-11-30T06:00+02:00", "--why", "migration")
        assert said == "sales is on hold until 2999-11-30 04:00:00 UTC, by anna: migration.\n"
        assert cli("release", sales).startswith("sales is not on hold any more. It was on hold until 2999-11-30")

    def test_without_an_end_until_is_null(self, cli: Cli, sales: str) -> None:
        assert cli.json("hold", sales, "--why", "the bank") == HOLD | {"until": None, "why": "the bank"}

    def test_a_second_hold_replaces_the_first_and_says_so(self, cli: Cli, held: str) -> None:
        answer = cli.json("hold", held, "--why", "another reason", "--by", "ben")
        assert answer == HOLD | {"until": None, "by": "ben", "why": "another reason"}
        assert "this replaces an earlier hold: on hold until 2999-11-30 06:00:00 UTC, by anna: migration" in cli.said

    def test_an_open_batch_goes_on_and_is_named(self, cli: Cli, sales: str) -> None:
        batch_id = cli.json("open", sales)["load"]["batch_id"]
        cli("hold", sales, "--why", "migration")
        assert f"batch {batch_id} is open and goes on" in cli.said
        assert "success" in cli("close", sales)
        cli("open", sales, code=1)

    def test_release_answers_with_the_hold_and_open_goes_again(self, cli: Cli, held: str) -> None:
        assert cli.json("release", held, "--why", "done") == HOLD
        cli("open", held)

    def test_a_release_without_a_hold(self, cli: Cli, sales: str) -> None:
        cli("release", sales, code=1)
        assert "sales is not on hold, so there is nothing to release" in cli.said

    @pytest.mark.parametrize("until", ["2020-01-01", "Monday", ""])
    def test_an_end_that_cannot_be_is_refused(self, cli: Cli, sales: str, until: str) -> None:
        cli("hold", sales, "--until", until, "--why", "migration", code=1)
        assert "until" in cli.said
        cli("open", sales)

    @pytest.mark.parametrize("why", ["", " ", "x" * 501])
    def test_a_reason_that_cannot_be_is_refused(self, cli: Cli, sales: str, why: str) -> None:
        cli("hold", sales, "--why", why, code=1)
        assert "reason" in cli.said

    def test_the_reason_is_needed(self, cli: Cli, sales: str, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit) as stop:
            cli("hold", sales)
        assert stop.value.code == 2
        assert "--why" in capsys.readouterr().err

    @pytest.mark.parametrize(
        "command", [("hold", "salse", "--why", "x"), ("release", "salse"), ("ack", "salse", "--batch", "1")]
    )
    def test_an_unknown_workflow_gets_the_nearest_name(self, cli: Cli, sales: str, command: tuple[str, ...]) -> None:
        cli(*command, code=1)
        assert "'salse' is in neither Redis nor" in cli.said
        assert "did you mean 'sales'?" in cli.said

    def test_a_workflow_with_a_file_alone_can_be_held_before_its_first_run(self, cli: Cli, tmp_path: Path) -> None:
        (tmp_path / "cfg").mkdir()
        (tmp_path / "cfg" / "sales.yaml").write_text(FILE)
        cli("release", "sales", code=1)
        assert "sales is not on hold" in cli.said
        cli("hold", "sales", "--why", "not before Monday")
        cli("open", "sales", code=1)
        assert "not before Monday" in cli.said
        cli("release", "sales")
        assert "the beginning" in cli("open", "sales")

    def test_other_commands_go_on(self, cli: Cli, held: str) -> None:
        cli("set-window", held, "2026-01-01")
        cli("disable", held, "load")
        cli("enable", held, "load")

    def test_list_status_and_changes_show_it(self, cli: Cli, held: str) -> None:
        assert [each["hold"] for each in cli.json("list")] == [HOLD]
        assert "on hold" in cli("list")
        assert "by anna: migration" in cli("list") + cli.said
        assert "by anna: migration" in cli("status", held) + cli.said
        (change, *_) = cli.json("history", held, "--changes")
        assert (change["by"], change["source"], change["why"]) == ("anna", "cli", "migration")
        cli("release", held)
        assert [each["hold"] for each in cli.json("list")] == [None]


class TestExec:
    def test_it_ends_with_75_and_does_not_run_the_command(self, cli: Cli, held: str, tmp_path: Path) -> None:
        cli("exec", held, "--", "touch", "ran", code=75)
        assert "by anna: migration" in cli.said
        assert not (tmp_path / "ran").exists()

    def test_waiting_has_an_end(self, cli: Cli, held: str) -> None:
        cli("exec", held, "--if-open", "wait", "--wait-timeout", "1s", "--", "true", code=75)

    def test_a_person_may_ignore_it(self, cli: Cli, held: str, tmp_path: Path) -> None:
        cli("exec", held, "--ignore-hold", "--", "touch", "ran")
        assert (tmp_path / "ran").exists()
        assert "is on hold since" in cli.said
        cli("open", held, "--ignore-hold")
        cli("close", held)
        assert cli.json("list")[0]["hold"] == HOLD


class TestNotes:
    def test_note_and_ack_answer_with_all_notes(self, cli: Cli, sales: str, failed: str) -> None:
        (first,) = cli.json("note", sales, "--batch", failed, "the disk was full")
        assert first.pop("at")
        assert first == {"by": "anna", "text": "the disk was full", "ack": False}
        notes = cli.json("ack", sales, "--batch", failed, "--by", "ben")
        assert [(each["by"], each["text"], each["ack"]) for each in notes] == [
            ("anna", "the disk was full", False),
            ("ben", None, True),
        ]
        assert list(notes[0]) == ["at", "by", "text", "ack"]
        assert len(cli.json("ack", sales, "--batch", failed, "ticket 12")) == 3

    def test_the_text_may_stand_before_or_after_the_batch(self, cli: Cli, sales: str, failed: str) -> None:
        cli("ack", sales, "one", "--batch", failed)
        cli("ack", "--batch", failed, sales, "two")
        assert [each["text"] for each in cli.json("ack", sales, "--batch", failed, "three")] == ["one", "two", "three"]
        with pytest.raises(SystemExit):
            cli("ack", sales, "one", "--batch", failed, "two")

    def test_they_are_shown_as_a_table(self, cli: Cli, sales: str, failed: str) -> None:
        said = cli("ack", sales, "--batch", failed, "ticket 12")
        assert "anna" in said
        assert "acknowledged" in said
        assert "ticket 12" in said

    def test_list_status_and_history_show_them(self, cli: Cli, sales: str, failed: str) -> None:
        (before,) = cli.json("list")
        assert before["acknowledged"] is None
        cli("ack", sales, "--batch", failed, "ticket 12")
        (row,) = cli.json("list")
        assert (row["acknowledged"]["by"], row["acknowledged"]["text"]) == ("anna", "ticket 12")
        assert "failed, acknowledged" in " ".join(cli("list").split())
        assert "acknowledged by anna: ticket 12" in cli("status", sales) + cli.said
        assert "acknowledged by anna: ticket 12" in " ".join(cli("history", sales).split())
        (batch, *_) = cli.json("history", sales)
        assert [each["text"] for each in batch["notes"]] == ["ticket 12"]

    def test_the_next_batch_is_not_acknowledged(self, cli: Cli, sales: str, failed: str) -> None:
        cli("ack", sales, "--batch", failed)
        cli("open", sales)
        cli("fail", sales)
        assert cli.json("list")[0]["acknowledged"] is None

    def test_what_has_not_failed_cannot_be_acknowledged(self, cli: Cli, sales: str) -> None:
        batch_id = str(cli.json("open", sales)["load"]["batch_id"])
        cli("ack", sales, "--batch", batch_id, code=1)
        assert f"batch {batch_id} has not failed: it is open" in cli.said
        assert cli.json("history", sales)[0]["notes"] == []

    @pytest.mark.parametrize("text", ["", "x" * 1001, "bell \x07"])
    def test_a_text_that_cannot_be_is_refused(self, cli: Cli, sales: str, failed: str, text: str) -> None:
        cli("note", sales, "--batch", failed, text, code=1)
        assert "the note" in cli.said

    def test_an_unknown_batch(self, cli: Cli, sales: str) -> None:
        cli("note", sales, "--batch", "17", "x", code=1)
        assert "there is no batch 17" in cli.said
