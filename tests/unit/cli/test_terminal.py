# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Foreign text never steers a terminal; pipes and files get a script's bytes as they are."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import subprocess
import sys
import threading
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchy_provider.bundles.execution_id import ExecutionId
from batchy_provider.bundles.result_store import ResultStore
from batchy_provider.cli.main import main
from batchy_provider.core.terminal_text import ColouredText, is_printable, printable

TITLE = "\x1b]0;owned\x07"
HOSTILE = f"a{TITLE}\x9b2J\r\x08\x7f\u202eb"
STEERS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def steers(text: str) -> bool:
    return STEERS.search(re.sub(r"\x1b\[[0-9;:]*m", "", text)) is not None


@given(st.text(st.characters(codec=None)))
def test_no_control_character_is_left_and_all_else_is(text: str) -> None:
    safe = printable(text)
    assert is_printable(safe)
    assert all(unicodedata.category(c) not in ("Cc", "Cs") or c in "\n\t" for c in safe)
    safe.encode()
    assert printable(safe) == safe
    if is_printable(text):
        assert safe == text
    assert "\n" not in printable(text, lines=False)


@given(st.lists(st.sampled_from([b"\x1b", b"[", b"31", b";1", b"m", b"K", b"]0;t\x07", b"a", b"\n", "é".encode()])))
def test_colours_stay_wherever_the_bytes_are_cut(parts: list[bytes]) -> None:
    def shown(pieces: list[bytes]) -> str:
        text = ColouredText()
        return "".join([*map(text.feed, pieces), text.close()])

    whole = b"".join(parts)
    assert shown(parts) == shown([whole]) == shown([whole[i : i + 1] for i in range(len(whole))])
    assert not steers(shown(parts))
    assert shown([whole]).count("\x1b[31m") == whole.count(b"\x1b[31m")


def in_terminal(*arguments: str, env: dict[str, str] | None = None) -> str:
    """Return what a terminal is sent by our command, which runs in this process."""
    ours, theirs = pty.openpty()
    sent = bytearray()

    def read() -> None:
        # Linux reports the end of a terminal as an error.
        with contextlib.suppress(OSError):
            while data := os.read(ours, 65536):
                sent.extend(data)

    reader = threading.Thread(target=read)
    reader.start()
    variables = {"TERM": "xterm", "COLUMNS": "300", **(env or {})}
    with pytest.MonkeyPatch.context() as patch, os.fdopen(theirs, "w", buffering=1) as terminal:
        for name, value in variables.items():
            patch.setenv(name, value)
        with contextlib.redirect_stdout(terminal), contextlib.redirect_stderr(terminal):
            main(arguments)
    reader.join(60)
    os.close(ours)
    return sent.decode()


@pytest.fixture
def results(tmp_path: Path) -> Path:
    store = ResultStore(str(tmp_path / "results"))
    written = f"\x1b[31mred\x1b[0m {HOSTILE}\n".encode() + b"\xff\xfe end\n"
    with store.draft(ExecutionId(workflow="sales", batch_id="1", job="load", attempt="1"), tmp_path) as draft:
        (draft.folder / "stdout").write_bytes(written)
        (draft.folder / "stderr").write_bytes(b"")
        draft.commit({"state": "success", "exit_code": 0, "started": "a", "finished": "b", "bundle": None})
    return tmp_path / "results"


def test_logs_are_coloured_in_a_terminal_and_exact_in_a_pipe(results: Path) -> None:
    call = ("logs", "sales", "load", "--results", str(results))
    shown = in_terminal(*call)
    assert "\x1b[31mred\x1b[0m" in shown
    assert "\\x1b]0;owned\\x07\\x9b2J" in shown
    assert not steers(shown)
    command = [sys.executable, "-m", "batchy_provider.cli.main", *call]
    assert HOSTILE.encode() in subprocess.run(command, capture_output=True, check=True).stdout


@pytest.mark.slow
def test_errors_tables_and_plain_rows_are_written_out(tmp_path: Path, redis_url: str) -> None:
    from batchy_provider.core.values import Actor, WorkflowConfig
    from batchy_provider.state.connections import open_client
    from batchy_provider.state.store import Store

    store = Store(open_client(redis_url))
    config = WorkflowConfig(name="sales", jobs={"load": {"note": HOSTILE}})
    store.load(config, by=Actor(HOSTILE, "cli", "host"), why=HOSTILE)
    for form in ("table", "plain", "json", "yaml"):
        for command in (("status", "sales"), ("history", "sales", "--changes"))[
            : 2 if form in ("table", "plain") else 1
        ]:
            shown = in_terminal("--redis-url", redis_url, "-o", form, *command)
            assert re.search("sales|host|load", shown)
            assert not steers(shown), (form, command)
    (tmp_path / "cfg").mkdir()
    (tmp_path / "cfg" / f"b{TITLE.replace('/', '')}.yaml").write_text("jobs: {}")
    for more in ((), ("--format", "github"), ("-o", "json")):
        assert not steers(in_terminal("validate", "--no-airflow", str(tmp_path / "cfg"), *more))
