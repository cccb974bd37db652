# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""What a script leaves: what can be kept is, all else is named, and never does one thing cost the others."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from upath import UPath

from batchy_provider.bundles.bundle_cache import BundleCache
from batchy_provider.bundles.errors import ResultNotStoredError
from batchy_provider.bundles.execution import Execution
from batchy_provider.bundles.execution_id import ExecutionId
from batchy_provider.bundles.execution_outcome import ExecutionOutcome
from batchy_provider.bundles.execution_request import ExecutionRequest
from batchy_provider.bundles.result_store import ResultStore
from batchy_provider.bundles.script_context import ScriptContext
from batchy_provider.bundles.storage import open_local_path

Run = Callable[..., ExecutionOutcome]
SECRET = "hunter2-of-the-night"
IDENTITY = ExecutionId(workflow="sales", batch_id="1", job="extract", attempt="1")


def open_path(url: str) -> Any:
    return UPath(url) if "memory:" in url else open_local_path(url)


@pytest.fixture(params=["local", "remote"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ResultStore:
    """Results in a folder, and in an object store."""
    local = request.param == "local"
    return ResultStore(str(tmp_path / "results") if local else f"memory://left-{os.urandom(4).hex()}", open_path)


needs_object_store = pytest.mark.parametrize("store", ["remote"], indirect=True)
"""A folder takes all or is full; `test_full_disk` has the latter."""


@pytest.fixture
def run(tmp_path: Path, store: ResultStore) -> Run:
    def execute(command: str, *secrets: str, **options: Any) -> ExecutionOutcome:
        return Execution(
            ExecutionRequest(
                identity=IDENTITY, script_context=ScriptContext(job="extract"), command=command, **options
            ),
            cache=BundleCache(tmp_path / "cache"),
            results=store,
            work=tmp_path / "work",
            secrets=lambda: set(secrets),
        ).run()

    return execute


def text(outcome: ExecutionOutcome, name: str) -> str:
    with outcome.stored.open(name) as file:
        return file.read().decode()


OUTPUTS = {
    'mkdir "$BATCHY_OUTPUT"; echo data > "$BATCHY_OUTPUT/part-0"': "is a folder",
    'echo data > x; ln -s "$PWD/x" "$BATCHY_OUTPUT"': "is a link",
    'ln -s /nowhere "$BATCHY_OUTPUT"': "is a link",
    'mkfifo "$BATCHY_OUTPUT"': "is a pipe",
    """python3 -c 'import socket; socket.socket(1).bind("s")'; mv s "$BATCHY_OUTPUT" """: "is a socket",
    'echo data > "$BATCHY_OUTPUT"; rm "$BATCHY_OUTPUT"': "was written and is gone",
    'echo data > "$BATCHY_OUTPUT"; mv "$BATCHY_OUTPUT" "$BATCHY_OUTPUT.done"': "was written and is gone",
    'rm -rf "$(dirname "$BATCHY_OUTPUT")"': "was written and is gone",
    'truncate -s 40G "$BATCHY_OUTPUT"': "most of them holes",
}


@pytest.mark.parametrize("command", OUTPUTS)
def test_an_output_that_is_no_regular_file_fails_the_job_and_never_hands_over_the_log(run: Run, command: str) -> None:
    outcome = run(f"echo log; {command}")
    assert outcome.state == outcome.stored.record["state"] == "failed"
    assert outcome.reason == outcome.stored.record["reason"]
    assert outcome.reason.startswith("$BATCHY_OUTPUT ")
    assert OUTPUTS[command] in outcome.reason
    assert "Expected one regular file" in outcome.reason
    assert text(outcome, "stdout") == "log\n"


def test_an_output_that_cannot_be_read_fails_the_job(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """The refusal is simulated: root, whom CI runs the tests as, reads everything."""
    really = os.open

    def refuse_output(path: Any, *more: Any, **options: Any) -> int:
        if Path(path).name == "output":
            raise PermissionError(errno.EACCES, "Permission denied")
        return really(path, *more, **options)

    monkeypatch.setattr("batchy_provider.bundles.file_moves.os.open", refuse_output)
    assert "Permission denied" in run('echo x > "$BATCHY_OUTPUT"').reason


def test_an_output_that_is_written_in_any_usual_way_is_taken(run: Run) -> None:
    for command in (
        'echo data > "$BATCHY_OUTPUT"',
        'echo data > "$BATCHY_OUTPUT.tmp"; mv "$BATCHY_OUTPUT.tmp" "$BATCHY_OUTPUT"',
        'echo data > x; cp x "$BATCHY_OUTPUT"; chmod 400 "$BATCHY_OUTPUT"',
        'echo data > x; ln x "$BATCHY_OUTPUT"; echo more',
    ):
        outcome = run(command)
        assert (outcome.state, text(outcome, "output")) == ("success", "data\n")


def test_a_script_that_failed_by_itself_says_why_and_the_output_is_told_beside_it(run: Run) -> None:
    outcome = run('mkdir "$BATCHY_OUTPUT"; echo wrong >&2; exit 3')
    assert "exit code 3" in outcome.reason
    assert any("$BATCHY_OUTPUT is a folder" in notice for notice in outcome.notices)


LEFT = {
    "ln -s backup.tar latest.tar": "'latest.tar' is a link",
    "ln -s / root": "'root' is a link",
    "mkfifo pipe": "'pipe' is a pipe (FIFO)",
    "python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind(\"s\")'": "'s' is a socket",
    "truncate -s 40G giant": "'giant' has 42,949,672,960 bytes, most of them holes",
    "touch $'bad\\xff'": r"'bad\xff' has a name that is not UTF-8",
    "touch $'line\\nfeed'": r"'line\nfeed' has control characters in its name",
    "touch $'\\e]0;title\\a'": r"'\x1b]0;title\x07' has control characters in its name",
    "d=$(printf 'd%.0s' {1..200}); mkdir -p $d/$d/$d/$d; touch $d/$d/$d/$d/x": "has a path of more than 700 bytes",
}


@pytest.mark.parametrize("command", LEFT)
def test_what_cannot_be_kept_is_named_and_the_rest_is_kept(run: Run, command: str) -> None:
    outcome = run(f'cd "$BATCHY_OUTPUT_DIR"; echo rest > rest; mkdir sub; echo deep > sub/deep; {command}')
    assert outcome.state == "success"
    assert (text(outcome, "files/rest"), text(outcome, "files/sub/deep")) == ("rest\n", "deep\n")
    (notice,) = outcome.notices
    assert notice.startswith("Not stored from $BATCHY_OUTPUT_DIR: ")
    assert LEFT[command] in notice
    assert outcome.stored.record["notices"] == [notice]
    assert sorted(name for name in outcome.stored.record["contents"] if "files/" in name) == [
        "files/rest",
        "files/sub/deep",
    ]


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("trap 'rm -rf \"$BATCHY_OUTPUT_DIR\"' EXIT", "was removed by the script"),
        ('rmdir "$BATCHY_OUTPUT_DIR"; echo x > "$BATCHY_OUTPUT_DIR"', "was replaced by the script: it is a file"),
        ('rmdir "$BATCHY_OUTPUT_DIR"; ln -s /etc "$BATCHY_OUTPUT_DIR"', "was replaced by the script: it is a link"),
        ('rm -rf "$(dirname "$BATCHY_OUTPUT_DIR")"', "was removed by the script"),
    ],
)
def test_a_folder_that_is_gone_costs_nothing_else(run: Run, command: str, said: str) -> None:
    outcome = run(f"echo loaded; {command}; true")
    assert text(outcome, "stdout") == "loaded\n"
    assert outcome.exit_code == 0
    assert any(f"$BATCHY_OUTPUT_DIR {said}" in notice for notice in outcome.notices)


def test_rights_that_a_script_took_from_itself_are_no_matter(run: Run) -> None:
    outcome = run('cd "$BATCHY_OUTPUT_DIR"; mkdir a; echo x > a/b; chmod 400 a/b; chmod 500 a; chmod 000 .')
    assert text(outcome, "files/a/b") == "x\n"


def test_a_file_that_has_another_name_elsewhere_is_a_copy(run: Run, tmp_path: Path) -> None:
    """What is written to the other name later must not change what was kept."""
    other = tmp_path / "live.csv"
    other.write_text("before")
    outcome = run('ln "$OTHER" "$BATCHY_OUTPUT_DIR/x"', env={"OTHER": str(other)})
    other.write_text("after!")
    assert text(outcome, "files/x") == "before"


def test_many_files_that_cannot_be_kept_are_counted(run: Run) -> None:
    (notice,) = run('cd "$BATCHY_OUTPUT_DIR"; for i in {1..500}; do ln -s x $i; done').notices
    assert "and 480 more is a link" in notice
    assert len(notice) < 1000


def test_files_that_a_script_leaves_beside_itself_are_named(run: Run, tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    (bundle / "lib").mkdir(parents=True)
    (bundle / "script.sh").write_text(
        "echo x > backup.dump; mkdir -p out __pycache__; touch out/a __pycache__/b lib/old"
    )
    (bundle / "lib" / "old").touch()
    (notice,) = run(None, bundle=bundle).notices
    assert notice.startswith("2 new files were left in the working copy, which is removed: 'backup.dump', 'out/a'. ")
    assert "$BATCHY_OUTPUT_DIR" in notice
    assert run("true").notices == ()


def test_so_many_new_files_are_counted(run: Run) -> None:
    (notice,) = run("touch {1..1000}").notices
    assert "1,000 new files" in notice
    assert "and 980 more" in notice


def test_secrets_are_not_in_names(run: Run) -> None:
    outcome = run(
        f'echo x > backup-{SECRET}; cd "$BATCHY_OUTPUT_DIR"; mkdir {SECRET}; echo 1 > {SECRET}/a; echo 2 > x-{SECRET};'
        f"echo 3 > x-MASKED; ln -s x link-{SECRET}; echo 4 > {SECRET}.json",
        SECRET,
    )
    assert SECRET not in json.dumps(dict(outcome.stored.record)) + json.dumps(list(outcome.notices))
    found = {text(outcome, name) for name in outcome.stored.record["contents"] if name.startswith("files/")}
    assert found == {"1\n", "2\n", "3\n", "4\n"}
    assert "3 of the stored files had a secret in their names, which is replaced by MASKED." in outcome.notices
    assert outcome.values == {"MASKED": 4}


VALUES = {
    r'{"name": "Foo\u0000bar"}': r"stats.json: $.name has a NUL character",
    r'{"rows": [1, {"text": "x\ud800"}]}': r"stats.json: $.rows[1].text has half of a surrogate pair",
    r'{"a b": {"\u0000": 1}}': r'stats.json: $["a b"] has a name "\u0000" with a NUL character',
    '{"mean": [1, NaN]}': "stats.json: it is not JSON (NaN at $.mean[1]",
    '{"mean": 1e999}': "stats.json: it is not JSON (Infinity at $.mean",
    '{"id": 18446744073709551616}': "stats.json: $.id is an integer beyond 64 bits",
    '{"id": ' + "9" * 6000 + "}": "stats.json: $.id is an integer beyond 64 bits",
    "[" * 100 + "]" * 100: "is nested more than 64 levels deep",
    "[" * 20000 + "]" * 20000: "nested more than 64 levels deep",
    '{"__classname__": "x"}': "stats.json: $ has the name '__classname__', which Airflow reserves for itself",
    '{"rows": 3,\n "x"}': "stats.json: it is not JSON (Expecting ':' delimiter: line 2 column 5",
}


@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize("secret", ["", SECRET])
def test_a_value_that_airflow_cannot_store_fails_the_job_and_its_place_is_named(
    run: Run, tmp_path: Path, value: str, secret: str
) -> None:
    (tmp_path / "value").write_text(value)
    command = f'echo {secret}; cp "$V" "$BATCHY_OUTPUT_DIR/stats.json"; echo kept > "$BATCHY_OUTPUT_DIR/other"'
    outcome = run(command, *filter(None, [secret]), env={"V": str(tmp_path / "value")})
    assert outcome.state == outcome.stored.record["state"] == "failed"
    assert VALUES[value] in outcome.reason
    assert outcome.values == {}
    assert text(outcome, "files/other") == "kept\n"


def test_a_secret_in_a_value_that_is_none_is_masked_too(run: Run) -> None:
    outcome = run(f'echo \'{{"x": "{SECRET}",\' > "$BATCHY_OUTPUT_DIR/broken.json"', SECRET)
    assert outcome.state == "failed"
    assert text(outcome, "files/broken.json") == '{"x": "***",\n'


def test_names_of_values_that_are_taken(run: Run) -> None:
    for name in ("return_value", "exit_code", "_link_BatchLink", "batchy.output"):
        assert f"the name '{name}' is reserved" in run(f'echo 1 > "$BATCHY_OUTPUT_DIR/{name}.json"').reason


@needs_object_store
def test_a_file_that_the_store_refuses_does_not_cost_the_others(
    run: Run, store: ResultStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    _refuse(monkeypatch, lambda path: path.name.startswith("big"))
    outcome = run('cd "$BATCHY_OUTPUT_DIR"; echo a > a; echo b > big; echo z > z')
    assert outcome.state == "success"
    assert (text(outcome, "files/a"), text(outcome, "files/z")) == ("a\n", "z\n")
    assert "files/big" not in outcome.stored.record["contents"]
    assert "'big' was refused by the store (ConnectionError: no)" in outcome.notices[0]


@needs_object_store
def test_an_output_that_the_store_refuses_fails_the_job(
    run: Run, store: ResultStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    _refuse(monkeypatch, lambda path: path.name == "output")
    outcome = run('echo log; echo data > "$BATCHY_OUTPUT"')
    assert outcome.state == outcome.stored.record["state"] == store.get(IDENTITY).record["state"] == "failed"
    assert "$BATCHY_OUTPUT was refused by the store" in outcome.reason
    assert text(outcome, "stdout") == "log\n"


@needs_object_store
def test_a_store_that_refuses_all_says_that_the_script_has_run(
    run: Run, store: ResultStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    _refuse(monkeypatch, lambda path: True)
    with pytest.raises(ResultNotStoredError, match="did not store the result of the script") as caught:
        run("exit 7")
    assert caught.value.exit_code == 7
    assert store.find("sales") == []


def _refuse(monkeypatch: pytest.MonkeyPatch, refused: Callable[[Any], bool]) -> None:
    real = UPath.open

    def broken(self: Any, mode: str = "r", **options: Any) -> Any:
        if "w" in mode and refused(self):
            raise ConnectionError("no")
        return real(self, mode, **options)

    monkeypatch.setattr(type(UPath("memory://x")), "open", broken)
