# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""No secret is in what is shown or stored of an execution, and data for later jobs are exact."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from batchy_provider.bundles.bundle_cache import BundleCache
from batchy_provider.bundles.errors import ResultError
from batchy_provider.bundles.execution import Execution
from batchy_provider.bundles.execution_id import ExecutionId
from batchy_provider.bundles.execution_outcome import ExecutionOutcome
from batchy_provider.bundles.execution_request import ExecutionRequest
from batchy_provider.bundles.log_tail import Follower
from batchy_provider.bundles.progress_lines import Progress
from batchy_provider.bundles.result_store import ResultStore
from batchy_provider.bundles.script_context import ScriptContext

SECRET = "hunter2-and-more"


KEY = "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQ\n-----END PRIVATE KEY-----"


@pytest.fixture
def store(tmp_path: Path) -> ResultStore:
    return ResultStore(str(tmp_path / "results"))


@pytest.fixture
def run(tmp_path: Path, store: ResultStore) -> Callable[..., ExecutionOutcome]:
    def execute(
        command: str, *known: str, env: Any = None, told: dict[str, Any] | None = None, **task: Any
    ) -> ExecutionOutcome:
        return Execution(
            ExecutionRequest(
                identity=ExecutionId(workflow="w", batch_id="1", job="j", attempt="1"),
                script_context=ScriptContext(job="j"),
                command=command,
                env={"S": SECRET, "KEY": KEY, **(env or {})},
                **task,
            ),
            cache=BundleCache(tmp_path / "cache"),
            results=store,
            work=tmp_path / "work",
            secrets=lambda: known,
            **(told or {}),
        ).run()

    return execute


def everything(outcome: ExecutionOutcome) -> bytes:
    """All bytes that an execution left in the store."""
    return b"".join(path.read_bytes() for path in outcome.stored.path.rglob("*") if path.is_file())


def read(outcome: ExecutionOutcome, name: str) -> bytes:
    with outcome.stored.open(name) as file:
        return file.read()


def test_nothing_that_is_shown_or_kept_has_the_secret(run: Callable[..., ExecutionOutcome]) -> None:
    shown: list[str] = []
    copied: list[bytes] = []
    said: list[Progress] = []
    outcome = run(
        """
        echo "stdout $S"; echo "stderr $S" >&2
        printf '%s' "${S:0:7}"; sleep 0.2; echo "${S:7}"
        echo '::batchy {"message": "with '"$S"'"}'
        echo '::batchy {"message": "escaped \\u0068unter2-and-more"}'
        echo '{"password": "'"$S"'", "n": 1}' > "$BATCHY_OUTPUT_DIR/facts.json"
        exit 3
        """,
        SECRET,
        told={
            "show": lambda stream, lines: shown.append(lines),
            "copy": lambda stream, data: copied.append(data),
            "progress": said.append,
        },
    )
    assert read(outcome, "stdout").startswith(b"stdout ***\n***\n")
    assert read(outcome, "stderr") == b"stderr ***\n"
    assert outcome.reason.endswith("The last lines of stderr:\nstderr ***")
    assert outcome.values == {"facts": {"password": "***", "n": 1}}
    assert json.loads(read(outcome, "files/facts.json")) == outcome.values["facts"]
    assert [progress.message for progress in said] in (["with ***", "escaped ***"], ["escaped ***"])
    assert "stdout ***" in "\n".join(shown)
    assert b"stdout ***" in b"".join(copied)
    for place in (everything(outcome), b"".join(copied), "\n".join(shown).encode(), repr(outcome).encode()):
        assert SECRET.encode() not in place
    assert outcome.stored.record["masked"] == {"stdout": 3, "stderr": 1}


def test_a_secret_of_several_lines_is_masked_on_stderr_too_whose_lines_are_marked(
    run: Callable[..., ExecutionOutcome],
) -> None:
    shown: list[str] = []
    outcome = run('echo "$KEY" >&2; head -n 2 <<< "$KEY"', KEY, told={"show": lambda _, lines: shown.append(lines)})
    assert read(outcome, "stderr") == b"***\n"
    assert b"MII" not in everything(outcome)
    assert "MII" not in "".join(shown)


def test_a_lone_line_is_shown_at_once_all_the_same(run: Callable[..., ExecutionOutcome], tmp_path: Path) -> None:
    shown: list[str] = []

    def show(stream: str, lines: str) -> None:
        shown.append(lines)
        (tmp_path / "go").touch()  # what the script waits for

    script = 'echo "ready hunter"; for i in {1..300}; do [ -e "$GO" ] && exit; sleep 0.1; done; exit 1'
    outcome = run(script, SECRET, env={"GO": str(tmp_path / "go")}, told={"show": show})
    assert (outcome.state, shown) == ("success", ["ready hunter"])


def test_a_follower_of_the_running_script_reads_it_masked(
    run: Callable[..., ExecutionOutcome], store: ResultStore
) -> None:
    read_so_far: list[bytes] = []

    def show(stream: str, lines: str) -> None:
        (running,) = store.running("w", "j")
        _, part = next(Follower(store, running).chunks())
        read_so_far.append(part)

    run('echo "a $S"; sleep 0.3', SECRET, told={"show": show})
    assert read_so_far == [b"a ***\n"]


def test_output_that_is_written_as_data_is_exact(run: Callable[..., ExecutionOutcome]) -> None:
    outcome = run('echo "$S"; echo "row $S" > "$BATCHY_OUTPUT"', SECRET, output_is_read=True)
    assert (read(outcome, "stdout"), read(outcome, "output")) == (b"***\n", f"row {SECRET}\n".encode())
    assert "masked" not in outcome.reference()


def test_stdout_that_a_later_job_reads_is_handed_over_exactly(
    run: Callable[..., ExecutionOutcome], store: ResultStore, tmp_path: Path
) -> None:
    outcome = run('seq 100000; echo "row $S"; printf "%s" "${S:0:5}"', SECRET, output_is_read=True)
    exact = "".join(f"{n}\n" for n in range(1, 100_001)) + f"row {SECRET}\nhunte"
    assert outcome.stored.record["output"] == "output"
    store.fetch(outcome.reference(), tmp_path / "input")
    assert (tmp_path / "input").read_text() == exact
    assert read(outcome, "stdout").decode() == exact.replace(SECRET, "***")
    assert sorted(outcome.stored.record["contents"]) == ["output", "stderr", "stdout"]


def test_stdout_without_secrets_is_kept_once(run: Callable[..., ExecutionOutcome]) -> None:
    outcome = run("echo data", SECRET, output_is_read=True)
    assert sorted(outcome.stored.record["contents"]) == ["stderr", "stdout"]


def test_masked_stdout_is_refused_as_input_and_the_error_says_what_to_do(
    run: Callable[..., ExecutionOutcome], store: ResultStore, tmp_path: Path
) -> None:
    reference = run('echo "$S"', SECRET).reference()
    assert reference["masked"] == 1
    with pytest.raises(ResultError, match=r"1 secrets in it were masked\. .* \$BATCHY_OUTPUT"):
        store.fetch(reference, tmp_path / "input")


def test_a_value_that_is_a_link_is_not_written_through(run: Callable[..., ExecutionOutcome], tmp_path: Path) -> None:
    target = tmp_path / "other.json"
    target.write_text(json.dumps(SECRET))
    outcome = run('ln -s "$TARGET" "$BATCHY_OUTPUT_DIR/x.json"', SECRET, env={"TARGET": str(target)})
    assert json.loads(target.read_text()) == SECRET
    assert outcome.values == {}
    assert outcome.notices == ("Not stored from $BATCHY_OUTPUT_DIR: 'x.json' is a link.",)


def test_a_secret_that_came_to_be_known_while_the_script_ran_is_not_in_the_record(
    tmp_path: Path, store: ResultStore
) -> None:
    known: list[str] = []
    outcome = Execution(
        ExecutionRequest(
            identity=ExecutionId(workflow="w", batch_id="1", job="j", attempt="1"),
            script_context=ScriptContext(job="j"),
            command='echo "{\\"k\\": \\"$S\\"}" > "$BATCHY_OUTPUT_DIR/v.json"; echo "$S" >&2; exit 1',
            env={"S": SECRET},
        ),
        cache=BundleCache(tmp_path / "cache"),
        results=store,
        work=tmp_path / "work",
        secrets=lambda: known,
        show=lambda *_: known.append(SECRET),
    ).run()
    assert SECRET not in outcome.reason + str(outcome.values) + json.dumps(dict(outcome.stored.record))
