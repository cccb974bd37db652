# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""A bundle from zip to stored result, as every face runs it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bundle_archives import Part, script, zip_of

from batchy_provider.bundles.bundle_cache import BundleCache
from batchy_provider.bundles.errors import BundleError, BundleRefusedError, ResultError
from batchy_provider.bundles.execution import Execution
from batchy_provider.bundles.execution_id import ExecutionId
from batchy_provider.bundles.execution_outcome import ExecutionOutcome
from batchy_provider.bundles.execution_request import ExecutionRequest
from batchy_provider.bundles.limits import ProcessLimits
from batchy_provider.bundles.result_store import ResultStore
from batchy_provider.bundles.script_context import ScriptContext

Make = Callable[..., Execution]
Run = Callable[..., ExecutionOutcome]
NIGHT = ScriptContext(
    job="extract",
    workflow="sales",
    batch_id=1795000000,
    from_date="2026-11-21T02:00:00.000000",
    to_date="2026-11-22T02:00:00.000000",
    attempt=2,
    run_id="scheduled__x",
    params={"region": "eu"},
    previous={"prepare": {"state": "success", "exit_code": 0}},
)


@pytest.fixture
def make(tmp_path: Path) -> Make:
    def build(command: str | None = None, show: Any = None, progress: Any = None, **options: Any) -> Execution:
        script_context = options.pop("script_context", NIGHT)
        identity = ExecutionId(workflow="sales", batch_id="1795000000", job=script_context.job, attempt="2")
        return Execution(
            ExecutionRequest(identity=identity, script_context=script_context, command=command, **options),
            cache=BundleCache(tmp_path / "cache"),
            results=ResultStore(str(tmp_path / "results")),
            work=tmp_path / "work",
            show=show,
            progress=progress,
        )

    return build


@pytest.fixture
def run(make: Make) -> Run:
    return lambda *args, **options: make(*args, **options).run()


def text(outcome: ExecutionOutcome, name: str = "stdout") -> str:
    with outcome.stored.open(name) as file:
        return file.read().decode()


def test_a_script_is_told_its_window_and_its_params(run: Run) -> None:
    outcome = run('echo "$BATCHY_WORKFLOW $BATCHY_JOB $BATCHY_BATCH_ID $BATCHY_FROM_DATE $BATCHY_TO_DATE '
                  '$BATCHY_ATTEMPT $BATCHY_RUN_ID"; cat "$BATCHY_PARAMS"')  # fmt: skip
    first, _, rest = text(outcome).partition("\n")
    assert first == "sales extract 1795000000 2026-11-21T02:00:00.000000 2026-11-22T02:00:00.000000 2 scheduled__x"
    told = json.loads(rest)
    assert told["params"] == {"region": "eu"}
    assert told["previous"]["prepare"]["state"] == "success"


def test_a_zip_runs_in_a_fresh_copy_each_time(run: Run, tmp_path: Path) -> None:
    bundle = tmp_path / "a.zip"
    bundle.write_bytes(zip_of(script("ls; echo changed > data; touch new\n"), Part("data", b"x")))
    for _ in range(2):
        outcome = run(bundle=bundle)
        assert outcome.state == "success"
        assert text(outcome) == "data\nscript.sh\n"
    assert outcome.stored.record["bundle"]["name"] == str(bundle)
    assert list((tmp_path / "work").iterdir()) == []
    assert [p.name for p in (tmp_path / "results").iterdir() if p.name != ".drafts"] == ["sales"]
    assert list((tmp_path / "results" / ".drafts").iterdir()) == []


def test_secrets_of_the_worker_are_not_told(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", "postgresql://u:hunter2@h")
    assert "hunter2" not in text(run("env"))
    assert "hunter2" in text(run("env", inherit_env=True))


def test_stdout_is_the_output_unless_the_script_writes_one(run: Run) -> None:
    plain = run("echo hello")
    assert plain.reference()["url"].endswith("/stdout")
    assert plain.reference()["bytes"] == 6
    written = run("echo log; echo data > $BATCHY_OUTPUT")
    assert written.reference()["url"].endswith("/output")
    assert text(written, "output") == "data\n"
    empty = run("echo log; : > $BATCHY_OUTPUT")
    assert empty.reference()["bytes"] == 0


def test_files_are_kept_and_json_files_are_values(run: Run) -> None:
    outcome = run("cd $BATCHY_OUTPUT_DIR; mkdir sub; echo a > sub/b; echo '{\"rows\": 3}' > stats.json")
    assert text(outcome, "files/sub/b") == "a\n"
    assert outcome.values == {"stats": {"rows": 3}}
    assert outcome.reference()["values"] == ["stats"]


def test_a_wrong_value_fails_after_everything_was_kept(run: Run) -> None:
    outcome = run("echo done; echo '{' > $BATCHY_OUTPUT_DIR/stats.json")
    assert outcome.state == "failed"
    assert "stats.json: it is not JSON" in outcome.reason
    assert text(outcome) == "done\n"


def test_input_comes_by_stdin_and_by_path(run: Run, tmp_path: Path) -> None:
    reference = run("seq 100000").reference()
    assert (
        text(run("cksum; cksum < $BATCHY_INPUT", input=reference)).split("\n")[0]
        == text(run("cat | cksum", input=reference)).strip()
    )
    assert text(run("wc -c < $BATCHY_INPUT", input_bytes=b"abc")).strip() == "3"
    (tmp_path / "in").write_text("from a file")
    assert text(run("cat", input_file=tmp_path / "in")) == "from a file"
    assert text(run("wc -c; echo ${BATCHY_INPUT-unset}")).split() == ["0", "unset"]


def test_a_script_that_changes_its_input_does_not_change_the_stored_output(run: Run) -> None:
    first = run("echo precious")
    run("echo gone > $BATCHY_INPUT", input=first.reference())
    assert text(first) == "precious\n"


def test_a_missing_input_says_so_before_anything_runs(run: Run, tmp_path: Path) -> None:
    reference = {"url": f"file://{tmp_path}/nowhere", "bytes": 1, "sha256": "0"}
    with pytest.raises(ResultError, match="is gone"):
        run(f"touch {tmp_path}/ran", input=reference)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("command", "state", "code", "reason"),
    [
        ("exit 0", "success", 0, "succeeded"),
        ("exit 99", "skipped", 99, "asked to be skipped"),
        ("echo one >&2; echo two >&2; exit 4", "failed", 4, "exit code 4. The last lines of stderr:\none\ntwo"),
        ("kill -9 $$", "failed", 137, "exit code 137 (signal SIGKILL). It wrote nothing to stderr."),
    ],
)
def test_how_it_ended_is_said_and_recorded(run: Run, command: str, state: str, code: int, reason: str) -> None:
    outcome = run(command)
    assert (outcome.state, outcome.exit_code) == (state, code)
    assert reason in outcome.reason
    record = outcome.stored.record
    assert (record["state"], record["exit_code"], record["reason"]) == (state, code, outcome.reason)
    assert record["started"] < record["finished"]


def test_only_the_last_lines_of_stderr_are_in_the_error(run: Run) -> None:
    reason = run("seq 1000 >&2; exit 1").reason
    assert "\n981\n" in reason
    assert "\n980\n" not in reason


def test_a_timeout_and_a_limit_fail_with_their_own_words(run: Run) -> None:
    assert "it reached its time limit" in run("sleep 60", timeout=0.3, kill_grace=1).reason
    outcome = run("yes", max_output_bytes=1000, kill_grace=1)
    assert outcome.state == "failed"
    assert "more than 1,000 bytes" in outcome.reason
    assert outcome.stored.record["contents"]["stdout"]["bytes"] == 1000
    assert run("yes > big", limits=ProcessLimits(file_bytes=100_000)).exit_code == 128 + signal.SIGXFSZ


def test_cancel_before_during_and_after(make: Make) -> None:
    early = make("echo ran")
    early.cancel()
    assert text(early.run()) == ""
    running = make("trap 'echo bye; exit 1' TERM; sleep 60 & wait")
    threading.Timer(0.4, running.cancel).start()
    outcome = running.run()
    assert outcome.stored.record["ended"] == "cancelled"
    assert text(outcome) == "bye\n"
    running.cancel()


def test_a_refused_bundle_runs_nothing_and_leaves_nothing(run: Run, tmp_path: Path) -> None:
    (tmp_path / "evil.zip").write_bytes(zip_of(script(f"touch {tmp_path}/ran"), Part("../x")))
    with pytest.raises(BundleRefusedError):
        run(bundle=tmp_path / "evil.zip")
    assert not (tmp_path / "ran").exists()
    assert ResultStore(str(tmp_path / "results")).find("sales") == []
    assert list((tmp_path / "work").iterdir()) == []


def test_a_working_copy_that_cannot_be_listed_is_removed(run: Run, tmp_path: Path) -> None:
    run("mkdir -p a/b; touch a/b/c; ln -s /etc a/link; chmod 000 a/b a")
    assert list((tmp_path / "work").iterdir()) == []


def test_a_bundle_or_a_command_but_not_both(make: Make) -> None:
    for options in ({}, {"bundle": "x", "command": "y"}):
        with pytest.raises(BundleError, match="one of the two"):
            make(**options)


def test_live_lines_and_progress_arrive_while_it_runs(run: Run) -> None:
    seen: list[tuple[str, float]] = []
    told: list[Any] = []
    started = time.monotonic()
    run(
        "echo one; echo '::batchy {\"progress\": 0.5}'; sleep 0.6; echo two",
        show=lambda stream, lines: seen.append((lines, time.monotonic() - started)),
        progress=told.append,
    )
    assert [lines for lines, _ in seen] == ["one", "two"]
    assert seen[0][1] < 0.4
    assert [p.progress for p in told] == [0.5]


WORKER = """
import sys
from pathlib import Path
from batchy_provider.bundles.bundle_cache import BundleCache
from batchy_provider.bundles.script_context import ScriptContext
from batchy_provider.bundles.execution import Execution
from batchy_provider.bundles.execution_request import ExecutionRequest
from batchy_provider.bundles.execution_id import ExecutionId
from batchy_provider.bundles.result_store import ResultStore
root = Path(sys.argv[1])
identity = ExecutionId(workflow="w", batch_id="1", job="j", attempt=sys.argv[2])
task = ExecutionRequest(identity=identity, script_context=ScriptContext(job="j"), command=sys.argv[3])
Execution(task, cache=BundleCache(root / "cache"), results=ResultStore(str(root / "results")), work=root / "work").run()
"""


def test_what_a_killed_worker_leaves_the_next_run_removes(tmp_path: Path) -> None:
    arguments = [sys.executable, "-c", WORKER, str(tmp_path)]
    ready = tmp_path / "ready"
    worker = subprocess.Popen([*arguments, "1", f"touch {ready}; sleep 60"])
    end = time.monotonic() + 10
    while not ready.exists() and time.monotonic() < end:
        time.sleep(0.02)
    worker.send_signal(signal.SIGKILL)
    worker.wait()
    end = time.monotonic() + 5
    while list((tmp_path / "work").iterdir()) and time.monotonic() < end:
        time.sleep(0.02)
    assert list((tmp_path / "results" / ".drafts").iterdir())
    subprocess.run([*arguments, "2", "echo again"], check=True)
    assert list((tmp_path / "work").iterdir()) == []
    assert list((tmp_path / "results" / ".drafts").iterdir()) == []
    assert [e.record["attempt"] for e in ResultStore(str(tmp_path / "results")).find("w")] == ["2"]


def test_nothing_heavy_is_imported(tmp_path: Path) -> None:
    """These modules are loaded at each task start, and know nothing of Airflow."""
    code = "import sys, batchy_provider.bundles.execution; print('\\n'.join(sys.modules))"
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    modules = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, check=True, text=True).stdout
    assert not {"airflow", "pydantic", "redis", "fsspec", "upath", "rich", "yaml"} & set(modules.split())


def test_the_example_of_the_page_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (Path(__file__).parents[3] / "docs" / "bundles.md").read_text()
    _, code = page.split("## In Python, without Airflow")
    example = code.split("```python\n")[1].split("```")[0].replace('"/var/', f'"{tmp_path}/')
    (tmp_path / "extract.zip").write_bytes(zip_of(script("echo from the page; exit 3")))
    monkeypatch.chdir(tmp_path)
    done = subprocess.run([sys.executable, "-c", example], capture_output=True, check=True, text=True)
    assert done.stdout.startswith("from the page\nfailed 3 file:///")
