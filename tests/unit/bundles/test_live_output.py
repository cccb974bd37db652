# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The live view and the progress lines, byte by byte and with a clock of our own."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchy_provider.bundles.live_output import LiveView
from batchy_provider.bundles.output_lines import LineSplitter, Unfinished
from batchy_provider.bundles.progress_lines import Progress, Throttle, parse, separate

PIECES = st.lists(st.binary(max_size=40) | st.just(b"\n") | st.just(b"ab\ncd\n"), max_size=20)


@given(PIECES)
def test_lines_come_out_as_they_went_in_however_they_are_cut(pieces: list[bytes]) -> None:
    splitter = LineSplitter(1000)
    out = []
    for piece in pieces:
        block = splitter.feed(piece)
        assert not block or block.endswith(b"\n")
        out.append(block)
    out.append(splitter.finish())
    whole = b"".join(pieces)
    lines = whole.removesuffix(b"\n").split(b"\n") if whole else []
    assert list(map(seen, b"".join(out).split(b"\n")[:-1])) == list(map(seen, map(last_state, lines)))


def seen(line: bytes) -> bytes:
    return line if line.strip() else b""


def last_state(line: bytes) -> bytes:
    """What stands in a line in the end: what came after the last carriage return, unless nothing can be seen of it."""
    return next((state for state in reversed(line.split(b"\r")) if state.strip()), b"")


@given(PIECES)
def test_long_lines_are_cut_at_the_same_place_however_they_arrive(pieces: list[bytes]) -> None:
    def split(parts: list[bytes]) -> bytes:
        splitter = LineSplitter(10)
        return b"".join([*map(splitter.feed, parts), splitter.finish()])

    assert split(pieces) == split([b"".join(pieces)])
    for line in split(pieces).split(b"\n"):
        assert len(line) < 100


def shown(limit: int = 10**9) -> tuple[list[tuple[str, str]], LiveView]:
    calls: list[tuple[str, str]] = []
    return calls, LiveView(lambda stream, lines: calls.append((stream, lines)), limit_bytes=limit, where="file:///x")


def test_lines_that_follow_closely_wait_for_the_next_call() -> None:
    calls, view = shown()
    view.put("stdout", b"a\n", 0.0)
    assert calls == [("stdout", "a")]
    view.put("stdout", b"b\n", 0.01)
    view.put("stdout", b"c\nd\n", 0.02)
    view.put("stderr", b"e\n", 0.03)
    assert len(calls) == 1
    assert view.due() == pytest.approx(0.1)
    view.tick(0.05)
    assert len(calls) == 1
    view.tick(0.1)
    assert calls[1:] == [("stdout", "b\nc\nd"), ("stderr", "e")]
    assert view.due() is None


def test_above_the_limit_the_view_counts_exactly_and_shows_the_end() -> None:
    calls, view = shown(limit=1000)
    for i in range(100_000):
        view.put("stdout", b"line %06d\n" % i, float(i) / 10_000)
    view.finish(10.0)
    lines = [line for stream, block in calls if stream == "stdout" for line in block.split("\n")]
    assert lines[0] == "line 000000"
    assert lines[-1] == "line 099999"
    notes = [block for stream, block in calls if stream == "note"]
    assert "file:///x" in notes[0]
    assert f"{100_000 - len(lines):,} lines are not shown here" in notes[-1]
    assert sum(map(len, lines)) < 80_000


@pytest.mark.parametrize(
    "line",
    [
        b"::batchy {}",
        b"::batchy []",
        b"::batchy 0.5",
        b'::batchy {"progress": "0.5"}',
        b'::batchy {"progress": true}',
        b'::batchy {"progress": NaN}',
        b'::batchy {"progress": Infinity}',
        b'::batchy {"progress": -0.1}',
        b'::batchy {"progress": 1.1}',
        b'::batchy {"message": 5}',
        b'::batchy {"progress": 0.5',
        b'::batchy{"progress": 0.5}',
        b' ::batchy {"progress": 0.5}',
        b"::batchy " + b"[" * 4000,
        b'::batchy {"message": "' + b"x" * 5000 + b'"}',
        b"::batchy \xff\xfe",
    ],
)
def test_a_wrong_progress_line_is_a_plain_line(line: bytes) -> None:
    assert parse(line) is None
    assert separate(line + b"\n") == (line + b"\n", None)


def test_right_progress_lines() -> None:
    assert parse(b'::batchy {"progress": 1}') == Progress(1.0, None)
    assert parse('::batchy {"message": "34/68 été"}'.encode()) == Progress(None, "34/68 été")
    assert parse(b'::batchy {"message": "\\ud800"}') == Progress(None, "?")
    assert separate(b'a\r::batchy x\n::batchy {"progress": 0}\r\nb\n') == (b"a\r::batchy x\nb\n", Progress(0.0, None))


def test_progress_is_told_once_a_second_and_the_last_always() -> None:
    told: list[Progress] = []
    throttle = Throttle(told.append)
    for i in range(100):
        throttle.put(Progress(i / 100, None), i / 50)
        throttle.tick(i / 50)
    assert [p.progress for p in told] == [0.0, 0.5]
    throttle.tick(2.0, last=True)
    assert told[-1].progress == 0.99
    throttle.tick(2.1, last=True)
    assert len(told) == 3


def test_a_line_that_is_written_over_is_shown_each_second_and_not_twice() -> None:
    splitter, shown = LineSplitter(), []
    unfinished = Unfinished(splitter, lambda line, now: shown.append((now, line)))
    for tenth in range(31):
        if tenth < 21:
            splitter.feed(b"\r%d %%" % tenth)
            unfinished.touch(tenth / 10)
        unfinished.tick(tenth / 10)
    assert shown == [(1.0, b"10 %\n"), (2.0, b"20 %\n")]
    assert splitter.feed(b"\r100 %\nnext") == b"100 %\n"


def test_a_line_that_only_grows_is_shown_ever_more_rarely() -> None:
    splitter, shown = LineSplitter(), []
    unfinished = Unfinished(splitter, lambda line, now: shown.append((now, len(line.split()[0]))))
    for second in range(40):
        splitter.feed(b".")
        unfinished.touch(float(second))
        unfinished.tick(float(second))
    assert shown == [(5.0, 6), (15.0, 16), (35.0, 36)]
    assert splitter.finish() == b"." * 40 + b"\n"
