# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""What the runner does with the output of a real script: nothing is lost, and it is shown in order."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from script_runs import shown

from batchy_provider.bundles.live_output import LiveView
from batchy_provider.bundles.progress_lines import Progress, Throttle
from batchy_provider.bundles.run_result import RunResult

Run = Callable[..., RunResult]


# Output


def test_order_within_a_stream_is_kept_through_thousands_of_lines(run_script: Run, tmp_path: Path) -> None:
    calls, view = shown()
    run_script("for ((i = 0; i < 20000; i++)); do echo $i; echo e$i >&2; done", view=view)
    for stream, prefix in (("stdout", ""), ("stderr", "e")):
        lines = [line for name, block in calls if name == stream for line in block.split("\n")]
        assert lines == [f"{prefix}{i}" for i in range(20000)]
        assert (tmp_path / stream).read_text() == "".join(f"{line}\n" for line in lines)


def test_streams_alternate_in_the_view_as_the_script_wrote_them(run_script: Run) -> None:
    """Order between two pipes is known where the script leaves a moment between its lines."""
    calls, view = shown()
    run_script("for i in 1 2 3; do echo o$i; sleep 0.05; echo e$i >&2; sleep 0.05; done", view=view)
    assert [line for _, block in calls for line in block.split("\n")] == ["o1", "e1", "o2", "e2", "o3", "e3"]


def test_a_lone_line_is_shown_at_once_and_many_in_few_calls(run_script: Run, tmp_path: Path) -> None:
    calls: list[str] = []
    seen = tmp_path / "seen"

    def show(stream: str, lines: str) -> None:
        calls.append(lines)
        seen.touch()

    # The script goes on when its first line has been shown; if that never happens, it says so.
    wait = f"for i in {{1..1500}}; do test -e {seen} && break; sleep 0.02; done; test -e {seen} || echo not shown"
    run_script(f"echo first; {wait}; seq 100000", view=LiveView(show))
    assert calls[0] == "first"
    assert "".join(f"{block}\n" for block in calls[1:]) == "".join(f"{i}\n" for i in range(1, 100001))
    assert len(calls) < 100


def test_a_slow_view_slows_the_script_and_loses_nothing(run_script: Run) -> None:
    total = 0

    def show(stream: str, lines: str) -> None:
        nonlocal total
        total += lines.count("\n") + 1
        time.sleep(0.01)

    run_script("seq 500000", view=LiveView(show))
    assert total == 500_000


def test_binary_output_survives(run_script: Run, tmp_path: Path) -> None:
    calls, view = shown()
    run_script("head -c 3000000 /dev/urandom | tee copy; printf '\\0\\377\\n' >&2", view=view)
    assert (tmp_path / "stdout").read_bytes() == (tmp_path / "copy").read_bytes()
    assert ("stderr", "\0\\xff") in calls


def test_a_line_of_fifty_megabytes_survives(run_script: Run, tmp_path: Path) -> None:
    calls, view = shown()
    run_script("head -c 50000000 /dev/zero | tr '\\0' x; echo; echo after", view=view)
    digest = hashlib.sha256(b"x" * 50_000_000 + b"\nafter\n").hexdigest()
    assert hashlib.sha256((tmp_path / "stdout").read_bytes()).hexdigest() == digest
    text = "\n".join(block for _, block in calls)
    assert len(text) < 100_000
    assert "49,983,616 more bytes of this line" in text
    assert text.endswith("\nafter")


def test_a_last_line_without_newline_is_shown(run_script: Run, tmp_path: Path) -> None:
    calls, view = shown()
    run_script("printf 'a\\nb'; printf c >&2", view=view)
    assert (tmp_path / "stdout").read_bytes() == b"a\nb"
    assert {line for _, block in calls for line in block.split("\n")} == {"a", "b", "c"}


MEMORY = """
import resource, sys
from pathlib import Path
from batchy_provider.bundles.live_output import LiveView
from batchy_provider.bundles.run_request import RunRequest
from batchy_provider.bundles.runner import Runner
folder = Path(sys.argv[1])
request = RunRequest(command=["bash", "script.sh"], cwd=folder, env={"PATH": sys.argv[3]},
                     stdout=folder / f"out{sys.argv[2]}", stderr=folder / f"err{sys.argv[2]}")
Runner(request, view=LiveView(lambda stream, lines: None)).run()
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_the_output(tmp_path: Path) -> None:
    peaks = []
    for megabytes in (1, 200):
        (tmp_path / "script.sh").write_text(f"yes some line of text | head -c {megabytes}000000")
        arguments = [sys.executable, "-c", MEMORY, str(tmp_path), str(megabytes), os.environ["PATH"]]
        peaks.append(int(subprocess.run(arguments, capture_output=True, check=True).stdout))
    assert peaks[1] - peaks[0] < 5_000  # KiB


def test_output_above_the_limit_stops_the_script_loudly(run_script: Run, tmp_path: Path) -> None:
    result = run_script("yes", max_output_bytes=1_000_000, grace=1)
    assert result.ended == "output_limit"
    assert (tmp_path / "stdout").stat().st_size == 1_000_000


def test_progress_is_told_and_wrong_lines_stay_lines(run_script: Run) -> None:
    told: list[Progress] = []
    calls, view = shown()
    run_script(
        """
        echo '::batchy {"progress": 0.25, "message": "1/4"}'
        echo '::batchy {"progress": 7}'
        echo '::batchy nonsense'
        for i in $(seq 200); do echo '::batchy {"progress": 0.5}'; done
        echo '::batchy {"progress": 1, "message": "done"}'
        """,
        view=view,
        progress=Throttle(told.append),
    )
    assert told[0].progress is not None
    assert told[-1] == Progress(1.0, "done")
    assert len(told) <= 2
    lines = [line for _, block in calls for line in block.split("\n")]
    assert lines == ['::batchy {"progress": 7}', "::batchy nonsense"]
