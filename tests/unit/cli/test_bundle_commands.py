# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""`run`: what a script's author gets at a terminal."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from command_line import BATCHY, Batchy


@pytest.fixture
def bundle(tmp_path: Path) -> Callable[[str], Path]:
    def make(script: str) -> Path:
        (tmp_path / "etl").mkdir(exist_ok=True)
        (tmp_path / "etl" / "script.sh").write_text(script)
        return tmp_path / "etl"

    return make


class TestRun:
    def test_leaves_with_the_scripts_code_and_keeps_streams_apart(self, batchy: Batchy, bundle: Any) -> None:
        bundle("echo out; echo err >&2; exit 7")
        done = batchy("run", "etl", code=7)
        assert done.stdout == b"out\n"
        assert done.stderr == b"err\nbatchy: script.sh failed: exit code 7.\n"

    def test_output_is_passed_on_byte_for_byte(self, batchy: Batchy, bundle: Any) -> None:
        """Also a long line that a task log would shorten, and what is no text."""
        bundle("head -c 300000 /dev/zero | tr '\\0' x; printf '\\377\\000no newline'")
        assert batchy("run", "etl").stdout == b"x" * 300000 + b"\xff\x00no newline"

    def test_values_with_sensitive_names_are_masked_on_the_terminal_and_in_results(
        self, batchy: Batchy, bundle: Any, tmp_path: Path
    ) -> None:
        bundle('echo "out $DB_PASSWORD"; echo "err $DB_PASSWORD" >&2')
        given = ("run", "etl", "--env", "DB_PASSWORD=hunter2-prod", "--keep")
        done = batchy(*given, "kept")
        assert done.stdout == b"out ***\n"
        assert b"err ***\n" in done.stderr
        assert b"2 secrets were masked in the output; --no-mask shows them" in done.stderr
        assert (tmp_path / "kept/stdout").read_bytes() + (
            tmp_path / "kept/stderr"
        ).read_bytes() == b"out ***\nerr ***\n"
        assert batchy(*given, "raw", "--no-mask").stdout == b"out hunter2-prod\n"

    def test_the_script_is_told_what_was_given(self, batchy: Batchy, bundle: Any, tmp_path: Path) -> None:
        bundle(
            'echo "$A|$BATCHY_JOB|$BATCHY_FROM_DATE|$BATCHY_TO_DATE|$BATCHY_WORKFLOW|$SECRET"; cat; cat $BATCHY_PARAMS'
        )
        (tmp_path / "in").write_text("input\n")
        given = ("--input", "in", "--env", "A=x=y", "--from", "2026-11-21", "--to", "2026-11-22T02:00:00+02:00")
        params = ("--param", "n=3", "--param", "who=ann", "--param", 'id="007"', "--param", "tables=[1]")
        environment = {**os.environ, "SECRET": "worker's"}
        out = batchy("run", "etl", *given, *params, "--workflow", "sales", env=environment).stdout.decode()
        first, second, context = out.split("\n", 2)
        assert first == "x=y|etl|2026-11-21T00:00:00.000000|2026-11-22T00:00:00.000000|sales|"
        assert second == "input"
        assert json.loads(context)["params"] == {"n": 3, "who": "ann", "id": "007", "tables": [1]}

    def test_input_from_a_pipe(self, batchy: Batchy, bundle: Any) -> None:
        bundle("wc -c < $BATCHY_INPUT; cat")
        assert batchy("run", "etl", "--input", "-", input=b"abc").stdout.split() == [b"3", b"abc"]

    def test_without_input_stdin_is_empty(self, batchy: Batchy, bundle: Any) -> None:
        bundle("wc -c")
        assert batchy("run", "etl", input=b"not for the script").stdout.split() == [b"0"]

    def test_the_authors_input_and_bundle_stay_as_they_are(self, batchy: Batchy, bundle: Any, tmp_path: Path) -> None:
        folder = bundle("echo changed > $BATCHY_INPUT; echo changed > script.sh; touch new")
        (tmp_path / "in").write_text("mine")
        batchy("run", "etl", "--input", "in")
        assert (tmp_path / "in").read_text() == "mine"
        assert [path.name for path in folder.iterdir()] == ["script.sh"]

    def test_a_zip_obeys_the_rules_of_unpacking(self, batchy: Batchy, tmp_path: Path) -> None:
        with zipfile.ZipFile(tmp_path / "good.zip", "w") as archive:
            archive.writestr("script.sh", "echo from the zip")
        assert batchy("run", "good.zip").stdout == b"from the zip\n"
        assert b"is pinned" in batchy("run", "good.zip", "--sha256", "0" * 64, code=125).stderr
        with zipfile.ZipFile(tmp_path / "evil.zip", "w") as archive:
            archive.writestr("script.sh", "echo hello")
            archive.writestr("../evil", "x")
        assert b"entry '../evil'" in batchy("run", "evil.zip", code=125).stderr
        assert not (tmp_path.parent / "evil").exists()

    def test_results_are_kept_where_asked_and_values_shown(self, batchy: Batchy, bundle: Any, tmp_path: Path) -> None:
        bundle("echo out; echo data > $BATCHY_OUTPUT; echo '{\"rows\": 3}' > $BATCHY_OUTPUT_DIR/stats.json; exit 99")
        said = batchy("run", "etl", "--keep", "kept", code=99).stderr.decode()
        assert 'stats = {"rows": 3}' in said
        kept = tmp_path / "kept"
        assert (kept / "output").read_text() == "data\n"
        assert (kept / "files" / "stats.json").exists()
        assert json.loads((kept / "exit.json").read_text())["state"] == "skipped"
        assert b"exists already" in batchy("run", "etl", "--keep", "kept", code=2).stderr

    def test_nothing_else_is_left_behind(self, batchy: Batchy, bundle: Any, tmp_path: Path) -> None:
        bundle("echo out > $BATCHY_OUTPUT; pwd")
        (tmp_path / "temp").mkdir()
        done = batchy("run", "etl", env={**os.environ, "TMPDIR": str(tmp_path / "temp")})
        assert done.stdout.decode().startswith(str(tmp_path / "temp"))
        assert b"not kept (--keep DIR): output" in done.stderr
        assert list((tmp_path / "temp").iterdir()) == []

    def test_time_and_limits(self, batchy: Batchy, bundle: Any) -> None:
        bundle("ulimit -n; trap '' TERM; while :; do sleep 0.1; done")
        given = ("--timeout", "2s", "--kill-grace", "0.3s", "--limit", "open_files=77")
        assert batchy("run", "etl", *given, code=124).stdout == b"77\n"
        bundle("yes")
        assert b"more than 1,000 bytes" in batchy("run", "etl", "--max-output", "1000", code=143).stderr

    @pytest.mark.parametrize(
        "wrong",
        [("--param", "x"), ("--env", "=x"), ("--limit", "nice=5"), ("--timeout", "soon"), ("--input", "nowhere")],
    )
    def test_wrong_usage_is_named(self, batchy: Batchy, bundle: Any, wrong: tuple[str, str]) -> None:
        bundle("echo ran")
        assert wrong[1].encode() in batchy("run", "etl", *wrong, code=2).stderr

    def test_a_value_that_is_no_json_fails(self, batchy: Batchy, bundle: Any) -> None:
        bundle("echo oops > $BATCHY_OUTPUT_DIR/a.json")
        assert b"it is not JSON" in batchy("run", "etl", code=1).stderr

    def test_lines_are_seen_while_it_runs_and_ctrl_c_ends_it_in_order(self, bundle: Any, tmp_path: Path) -> None:
        bundle("trap 'echo bye; exit 0' TERM; echo hi; sleep 60 & wait")
        process = subprocess.Popen([*BATCHY, "run", str(tmp_path / "etl")], stdout=-1, stderr=-1)
        assert process.stdout is not None
        assert process.stdout.readline() == b"hi\n"
        process.send_signal(signal.SIGINT)
        out, said = process.communicate(timeout=50)  # before the script's own end
        assert (out, process.returncode) == (b"bye\n", 130)
        assert b"stopping the script" in said

    def test_ctrl_c_twice_kills(self, bundle: Any, tmp_path: Path) -> None:
        bundle("trap '' TERM; echo $$; while :; do sleep 0.1; done")
        process = subprocess.Popen([*BATCHY, "run", str(tmp_path / "etl")], stdout=-1, stderr=-1)
        assert process.stdout is not None
        script = int(process.stdout.readline())
        process.send_signal(signal.SIGINT)
        time.sleep(0.3)
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=8) == 130
        assert not Path(f"/proc/{script}").exists()

    def test_a_reader_that_has_seen_enough_ends_the_script(self, bundle: Any, tmp_path: Path) -> None:
        bundle("yes")
        process = subprocess.Popen([*BATCHY, "run", str(tmp_path / "etl")], stdout=-1, stderr=subprocess.DEVNULL)
        assert process.stdout is not None
        process.stdout.read(10)
        process.stdout.close()
        assert process.wait(timeout=20) == 141

    def test_progress_is_confirmed(self, batchy: Batchy, bundle: Any) -> None:
        bundle('echo \'::batchy {"progress": 0.5, "message": "34/68"}\'; echo \'::batchy {"progress": 5}\'')
        said = batchy("run", "etl").stderr.decode()
        assert said.count("progress") == 1
        assert "batchy: progress 50% 34/68" in said

    def test_it_loads_neither_airflow_nor_redis(self, bundle: Any, tmp_path: Path) -> None:
        bundle("true")
        code = (
            "import sys; from batchy_provider.cli.main import main; main(['run', sys.argv[1]]);"
            "print(*{name.partition('.')[0] for name in sys.modules})"
        )
        done = subprocess.run(
            [sys.executable, "-c", code, str(tmp_path / "etl")], capture_output=True, check=True, text=True
        )
        assert not {"airflow", "redis", "pydantic", "rich"} & set(done.stdout.split())
