# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Long lists: they are written while they are read, and look like short ones."""

from __future__ import annotations

import contextlib
import io
import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from command_line import BATCHY
from hypothesis import given
from hypothesis import strategies as st
from redis import Redis
from redis.client import Pipeline
from rich import box
from rich.console import Console
from rich.table import Table
from test_terminal import in_terminal

from batchy_provider.cli import table
from batchy_provider.cli.context import EXIT_INTERRUPTED
from batchy_provider.cli.json_text import indented
from batchy_provider.cli.main import main
from batchy_provider.cli.output import Output, styled
from batchy_provider.cli.styled_text import StyledText
from batchy_provider.cli.table import FIRST_ROWS, table_lines
from batchy_provider.core.values import CloseRequest, Holder, OpenRequest, WorkflowConfig
from batchy_provider.state.connections import open_client
from batchy_provider.state.store import Store

VALUE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda each: st.lists(each, max_size=4) | st.dictionaries(st.text() | st.integers(), each, max_size=4),
    max_leaves=12,
)
TEXT = st.text("abc 数é-", max_size=12)


def lines(rows: Any, width: int | None = None, columns: tuple[str, ...] = ("a", "b"), **more: Any) -> list[str]:
    return [line for some in table_lines(columns, rows, width=width, **more) for line in some]


def rich_lines(rows: list[list[str]], columns: tuple[str, ...]) -> list[str]:
    """Return the table as rich draws it, which knows how many cells each character takes."""
    drawn = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        drawn.add_column(column, no_wrap=True)
    for row in rows:
        drawn.add_row(*row)
    out = Console(width=1000, file=io.StringIO())
    out.print(drawn, crop=False, markup=False)
    return [line.rstrip() for line in out.file.getvalue().splitlines()]


@given(st.lists(st.lists(TEXT.map(str.strip), min_size=3, max_size=3), min_size=1, max_size=6))
def test_a_table_looks_as_rich_draws_it(rows: list[list[str]]) -> None:
    columns = ("name", "日付", "c")
    assert lines(rows, columns=columns) == rich_lines(rows, columns)


@given(VALUE)
def test_json_is_the_same_text_as_of_json_dumps(value: Any) -> None:
    assert indented(value) == json.dumps(value, indent=4)
    assert f"[\n    {indented(value, 1)}\n]" == json.dumps([value], indent=4)


class Reader:
    """Rows that know how many of them have been read."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.read = 0

    def __iter__(self) -> Iterator[list[str]]:
        for number in range(self.count):
            self.read += 1
            yield [f"wf_{number}", "success"]


class Written(io.StringIO):
    """A stdout that remembers how many rows had been read when the first one was written."""

    def __init__(self, reader: Reader) -> None:
        super().__init__()
        self._reader = reader
        self.read_at_first: int | None = None

    def write(self, text: str) -> int:
        if self.read_at_first is None and "wf_0" in text:
            self.read_at_first = self._reader.read
        return super().write(text)


@pytest.mark.parametrize("form", ["table", "plain", "json", "yaml"])
def test_rows_are_written_before_the_last_is_read(form: str) -> None:
    reader = Reader(5 * FIRST_ROWS)
    out = Written(reader)
    with contextlib.redirect_stdout(out):
        if form in ("table", "plain"):
            Output(form).table(("workflow", "status"), reader)
        else:
            Output(form).records(reader)
    assert out.read_at_first is not None
    assert out.read_at_first <= FIRST_ROWS + 1
    assert out.getvalue().count("wf_") == reader.count


@pytest.mark.parametrize("count", [0, 1, 2, 700])
def test_data_that_is_written_in_parts_is_one_document(count: int) -> None:
    items = [{"workflow": f"wf_{number}", "größe\x7f": [1, None, {"a": []}]} for number in range(count)]
    for form, read in (("json", json.loads), ("yaml", yaml.safe_load)):
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            Output(form).records(iter(items))
        assert read(out.getvalue()) == items
        if form == "json":
            assert out.getvalue() == json.dumps(items, indent=4) + "\n"


@pytest.mark.parametrize("read", [0, 249, 250, 251, 700])
def test_data_that_ends_early_is_no_document(read: int) -> None:
    """A program that does not look at the exit code must not take it for all there is."""

    def failing() -> Iterator[dict[str, str]]:
        for number in range(read):
            yield {"workflow": f"wf_{number}"}
        raise ConnectionError("Redis is gone")

    for form, parse, error in (("json", json.loads, ValueError), ("yaml", yaml.safe_load, yaml.YAMLError)):
        out = io.StringIO()
        with contextlib.redirect_stdout(out), pytest.raises(ConnectionError):
            Output(form).records(failing())
        if read < 250:
            assert out.getvalue() == ""
        else:
            with pytest.raises(error):
                parse(out.getvalue())


def test_a_later_row_that_is_wider_is_whole_and_the_rest_follows_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "FIRST_ROWS", 1)
    rows = [["a", "1"], ["longer name", "2"], ["b", "3"]]
    found = lines(rows)[3:-1]
    assert found[0].split() == ["a", "1"]
    assert found[1].index("2") == found[2].index("3") == len(" longer name   ")


def test_a_later_row_with_a_value_in_a_column_that_was_left_out_shows_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "FIRST_ROWS", 1)
    columns = ("workflow", "a long heading", "holder")
    rows = [["sales", "", "anna"], ["crm", "x", "-"]]
    text = "\n".join(lines(rows, 30, columns))
    assert "x" in text.split()
    assert all(len(line) <= 30 for line in text.splitlines())


def test_a_row_that_does_not_fit_into_the_terminal_is_a_block_among_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "FIRST_ROWS", 1)
    rows = [["a", "1"], ["x" * 18, "y" * 18], ["b", "3"]]
    found = lines(rows, 30)
    assert [line.split() for line in found if line.strip()][2:] == [
        ["a", "1"],
        ["a", "x" * 18],
        ["b", "y" * 18],
        ["b", "3"],
    ]


def test_colors_are_escapes_only_where_they_are_wanted() -> None:
    cell = styled("success") + ", on hold"
    assert lines([[cell, "x"]])[3] == " success, on hold   x"
    assert "\x1b[32msuccess\x1b[0m, on hold   x" in lines([[cell, "x"]], color=True)[3]
    wrapped = lines([[StyledText(("one two", "bold red"), (" three", "")), "x"]], 12, color=True)
    assert any("\x1b[1;31mone" in line for line in wrapped)


@pytest.fixture
def many(redis_url: str, redis_client: Redis) -> str:
    """A Redis with more workflows than one round trip reads, all copies of one."""
    store = Store(open_client(redis_url))
    config = WorkflowConfig(name="wf", jobs={"load": {"note": "x" * 200}, "mail": {}})
    store.open("wf", OpenRequest(config=config, holder=Holder(dag_id="wf", run_id="r1")))
    store.close("wf", CloseRequest(result="success"))
    with redis_client.pipeline(transaction=False) as pipe:
        for number in range(MANY - 1):
            pipe.copy("wf", f"wf_{number}")
            pipe.copy("wf:meta", f"wf_{number}:meta")
            pipe.copy("wf:loaded", f"wf_{number}:loaded")
        pipe.execute()
    return redis_url


MANY = 2100


def test_round_trips_of_a_list_grow_by_few_for_each_thousand_workflows(
    many: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BATCHY_CFG", raising=False)
    sent: list[int] = []
    really = Pipeline.execute
    monkeypatch.setattr(Pipeline, "execute", lambda *a, **k: sent.append(1) or really(*a, **k))
    assert main(["--redis-url", many, "-o", "json", "list"]) == 0
    assert len(json.loads(capsys.readouterr().out)) == MANY
    thousands = -(-MANY // 1000)
    # The sizes of hashes, the state, and when each has succeeded last.
    assert len(sent) <= 3 * thousands
    sent.clear()
    assert main(["--redis-url", many, "metrics"]) == 0
    assert capsys.readouterr().out.count("batchy_workflow_jobs{") == MANY
    # These, and the ledger.
    assert len(sent) <= 4 * thousands


@pytest.mark.parametrize("form", ["table", "plain", "json"])
def test_a_reader_that_has_seen_enough_ends_the_list_without_an_error(many: str, form: str) -> None:
    command = [*BATCHY, "--redis-url", many, "-o", form, "list"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline()
    process.stdout.close()
    assert process.stderr is not None
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait(60) == 0


def test_ctrl_c_ends_a_list_without_an_error(many: str) -> None:
    process = subprocess.Popen(
        [*BATCHY, "--redis-url", many, "-o", "json", "list"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.readline()  # it writes, and nobody reads on
    process.send_signal(signal.SIGINT)
    process.stdout.close()
    assert process.stderr is not None
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait(60) in (0, EXIT_INTERRUPTED)


def test_a_full_disk_is_one_line(many: str) -> None:
    with Path("/dev/full").open("w") as full:
        command = [*BATCHY, "--redis-url", many, "list"]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, check=False, timeout=60)
    assert done.stderr.decode() == "batchy: the output cannot be written: No space left on device\n"
    assert done.returncode == 1


def test_colors_are_for_terminals_that_have_them(redis_url: str) -> None:
    Store(open_client(redis_url)).load(WorkflowConfig(name="sales", jobs={"load": {}}), by="anna")
    call = ("--redis-url", redis_url, "list")
    assert "\x1b[36mnew\x1b[0m" in in_terminal(*call)
    assert "\x1b" not in in_terminal(*call, env={"NO_COLOR": "1"})
    assert "\x1b" not in in_terminal(*call, env={"TERM": "dumb"})
