# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""How `batchy` is called: which Redis it uses, wrong options, and what it loads."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest
from command_line import Cli

from batchy_provider.cli.main import GROUPS, build_parser, main
from batchy_provider.local.ports import free_port


def listing_in(program: str, redis_url: str) -> tuple[int, str]:
    """Run a program that lists the workflows; return its exit code and its errors."""
    command = [sys.executable, "-c", program, "--redis-url", redis_url, "list"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode, done.stderr


class TestUsage:
    def test_no_redis_named(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        monkeypatch.delenv("BATCHY_REDIS_URL", raising=False)
        assert main(["list"]) == 2
        assert "--redis-url" in capsys.readouterr().err

    def test_the_environment_names_it(
        self, cli: Cli, redis_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setenv("BATCHY_REDIS_URL", redis_url)
        assert main(["list", "-o", "json"]) == 0
        assert capsys.readouterr().out == "[]\n"

    def test_a_server_that_is_not_there(self, capsys: pytest.CaptureFixture[str]) -> None:
        url = f"redis://:hush@127.0.0.1:{free_port()}/0"
        for command in (["list"], ["status", "sales"]):
            assert main(["--redis-url", url, *command]) == 1
            said = capsys.readouterr().err
            assert said.startswith("batchy: Redis")
            assert "hush" not in said
            assert "Traceback" not in said

    def test_a_url_that_is_none(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["--redis-url", "http://localhost", "list"]) == 1
        assert "http" in capsys.readouterr().err

    def test_a_foreign_key_in_its_place(self, cli: Cli, redis_client: Any) -> None:
        redis_client.set("sales", "something else")
        cli("status", "sales", code=1)
        assert "'sales'" in cli.said
        assert redis_client.get("sales") == b"something else"

    @pytest.mark.parametrize(
        "arguments", [[], ["frobnicate"], ["status"], ["-o", "xml", "list"], ["wait", "x", "--timeout", "soon"]]
    )
    def test_wrong_usage(self, arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit) as stopped:
            main(arguments)
        assert stopped.value.code == 2

    @pytest.mark.parametrize(
        ("arguments", "said", "help_of"),
        [
            (["statsu", "sales"], "there is no command 'statsu'; did you mean 'status'?", "batchy"),
            (["help"], "there is no command 'help'\n", "batchy"),
            (["status", "sales", "--redis-ulr", "x"], "no option '--redis-ulr'; did you mean '--redis-url'?", "status"),
            (["history", "sales", "--batch=1"], "there is no option '--batch'\n", "history"),
            (["list", "more"], "there is one argument too many: 'more'", "list"),
            (["run", "nightly", "--frm", "1"], "there is no option '--frm'; did you mean '--from'?", "run"),
            (["history", "--limit", "ten"], "--limit: expected a whole number, not 'ten'", "history"),
            (["fail", "sales", "--batch", "last"], "--batch: expected a whole number, not 'last'", "fail"),
            ([], "the following arguments are required: COMMAND", "batchy"),
        ],
    )
    def test_a_mistake_is_answered_with_what_was_meant_and_the_help_to_read(
        self, arguments: list[str], said: str, help_of: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        program = "batchy" if help_of == "batchy" else f"batchy {help_of}"
        with pytest.raises(SystemExit):
            main(arguments)
        err = capsys.readouterr().err
        assert said in err
        assert f"\n{program}: error: " in err
        assert err.endswith(f"\nFor help: {program} --help\n")

    @pytest.mark.parametrize("option", ["--limit", "--offset"])
    def test_a_negative_count_is_refused(self, cli: Cli, sales: str, option: str) -> None:
        assert cli("history", sales, option, "-1", code=2) == ""
        assert f"{option}: expected a number from" in cli.said

    @pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", "<&- >&- 2>&-"])
    def test_closed_standard_files(self, redis_url: str, cli: Cli, sales: str, closed: str) -> None:
        command = f"{sys.executable} -m batchy_provider.cli.main --redis-url {redis_url} list {closed}"
        done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
        assert ("sales" in done.stdout) is (">&-" not in closed.replace("2>&-", ""))

    @pytest.mark.parametrize("login", ["", ":falsch@", "ann:falsch@"])
    def test_a_refused_login(
        self, redis_url: str, redis_client: Any, login: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        redis_client.config_set("requirepass", "right")
        try:
            for command in (["list"], ["status", "sales"], ["hold", "sales", "--why", "x"]):
                assert main(["--redis-url", redis_url.replace("://", f"://{login}"), *command]) == 1
                said = capsys.readouterr().err
                assert "refused the login: check the user and the password" in said
                assert "falsch" not in said
        finally:
            redis_client.config_set("requirepass", "")

    def test_a_connection_of_airflow(
        self, sales: str, cli: Cli, redis_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setenv("AIRFLOW_CONN_ETL", redis_url)
        assert main(["--connection", "etl", "-o", "json", "status", "sales"]) == 0
        assert list(json.loads(capsys.readouterr().out)) == ["extract", "load"]
        assert main(["--connection", "missing", "list"]) == 1
        assert "missing" in capsys.readouterr().err

    def test_commands_need_no_airflow_and_start_fast(self, redis_url: str) -> None:
        program = (
            "import sys; from batchy_provider.cli.main import main; code = main(sys.argv[1:]);"
            "heavy = {'airflow', 'pydantic', 'pendulum', 'numpy', 'yaml', 'opentelemetry.sdk',"
            " 'batchy_provider.cli.demo'} & set(sys.modules);"
            "sys.exit(f'imported {heavy}' if heavy else code)"
        )
        assert listing_in(program, redis_url) == (0, "")

    def test_opentelemetry_is_there_for_those_who_want_it_later(self, redis_url: str) -> None:
        program = (
            "import sys; from batchy_provider.cli.main import main; main(sys.argv[1:]);"
            "from opentelemetry.sdk.metrics import MeterProvider"
        )
        assert listing_in(program, redis_url) == (0, "")

    def test_a_reader_that_has_seen_enough(self, redis_url: str, cli: Cli, sales: str) -> None:
        command = (
            f"{sys.executable} -m batchy_provider.cli.main --redis-url {redis_url} -o json history sales | head -n 1"
        )
        done = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, check=False)
        assert (done.stdout, done.stderr) == ("[\n", "")


class TestParserOfOneCommand:
    """A command builds only its own part of the parser, which answers as the whole one does."""

    @pytest.mark.parametrize("group", GROUPS)
    def test_the_table_names_the_commands_of_each_group(self, group: str) -> None:
        choices = [action.choices for action in build_parser(groups=[group])._actions if action.dest == "==SUPPRESS=="]
        assert [tuple(commands or ()) for commands in choices if commands] == [GROUPS[group]]

    @pytest.mark.parametrize(
        "words",
        [
            ["--help"],
            ["--version"],
            ["list", "--help"],
            ["list", "more"],
            ["list", "--frobnicate"],
            ["--frobnicate", "list"],
            ["-o"],
            ["-o", "json"],
            ["-ojson", "list", "more"],
            ["--out", "json", "list", "more"],
            ["--output=xml", "list"],
            ["--cfg", "list", "status"],
            ["--cfg", "list", "frobnicate"],
            ["--cfg=status", "list", "more"],
            ["-o", "xml", "list"],
            ["--", "list", "more"],
            ["set-window", "sales"],
            [],
        ],
    )
    def test_it_says_the_same(self, words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit) as whole:
            build_parser().parse_args(words)
        wanted = capsys.readouterr()
        with pytest.raises(SystemExit) as stopped:
            main(words)
        assert (stopped.value.code, capsys.readouterr()) == (whole.value.code, wanted)
