# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""
What running a bundle costs, as ratios to plain bash in the same run.

1. One million lines of 100 bytes, through the runner into its files, against `bash script.sh > file`;
   with and without a live view.
2. Peak memory of the process that runs the script, at 1, 100 and 500 MB of output.
3. From start to the first line that the live view shows, for a cached zip, against plain bash.
4. An output of 1 GB handed to the next script on local disk (copied and its digest checked), against `cp`.

Usage: python benchmarks/bundle_runner.py [--rounds N]
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path
from typing import Any

from batchy_provider.bundles import source
from batchy_provider.bundles.cache import BundleCache
from batchy_provider.bundles.environment import Telling
from batchy_provider.bundles.execution import Execution, Task
from batchy_provider.bundles.identity import ExecutionId
from batchy_provider.bundles.live import LiveView
from batchy_provider.bundles.results import ResultStore
from batchy_provider.bundles.runner import Runner

LINES = 1_000_000
MANY = """for ((i = 0; i < 100; i++)); do yes "$(printf 'x%.0s' {1..99})" | head -n 10000; done"""
ONE = """yes "$(printf 'x%.0s' {1..99})" | head -n 1000000"""
PRINTF = """printf -v line '%099d' 7; for ((i = 0; i < 10000; i++)); do printf "$line\\n%.0s" {1..100}; done"""


def through_bash(script: Path, out: Path) -> float:
    out.unlink(missing_ok=True)  # to empty a large file takes time
    started = time.perf_counter()
    with out.open("wb") as file:
        subprocess.run(["bash", str(script)], stdin=subprocess.DEVNULL, stdout=file, check=True)
    return time.perf_counter() - started


def through_runner(script: Path, folder: Path, view: LiveView | None) -> float:
    started = time.perf_counter()
    Runner(
        ["bash", str(script)],
        cwd=folder,
        env={"PATH": os.environ["PATH"]},
        stdout=folder / "stdout",
        stderr=folder / "stderr",
        view=view,
    ).run()
    return time.perf_counter() - started


def throughput(folder: Path, rounds: int) -> None:
    for name, text in (
        ("bash's own printf", PRINTF),
        ("100 programs", MANY),
        ("one program that does nothing else", ONE),
    ):
        script = folder / "script.sh"
        script.write_text(text)
        times: dict[str, list[float]] = {"bash": [], "runner": [], "runner, live view": []}
        for _ in range(rounds):
            times["bash"].append(through_bash(script, folder / "plain"))
            expected = (folder / "plain").stat().st_size
            assert expected == LINES * 100
            for kind in ("runner", "runner, live view"):
                seen = [0]

                def show(_: str, lines: str, seen: list[int] = seen) -> None:
                    seen[0] += lines.count("\n") + 1

                view = LiveView(show) if kind != "runner" else None
                times[kind].append(through_runner(script, folder, view))
                assert (folder / "stdout").stat().st_size == expected
                assert view is None or seen[0] == LINES
                for file in ("stdout", "stderr"):
                    (folder / file).unlink()
        plain = statistics.median(times["bash"])
        print(f"1,000,000 lines of 100 bytes, {name}: bash script.sh > file {plain:.3f} s")
        for kind in ("runner", "runner, live view"):
            print(
                f"  {kind}: {statistics.median(times[kind]):.3f} s, {statistics.median(times[kind]) / plain:.2f} times"
            )


def memory() -> None:
    peaks = {}
    for megabytes in (1, 100, 500):
        done = subprocess.run(
            [sys.executable, __file__, "--memory", str(megabytes)], capture_output=True, check=True, text=True
        )
        peaks[megabytes] = int(done.stdout) / 1024
    for megabytes, peak in peaks.items():
        print(f"peak memory at {megabytes} MB of output: {peak:.1f} MiB, {peak / peaks[1]:.2f} times that at 1 MB")


def memory_child(megabytes: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "script.sh").write_text(f"yes \"$(printf 'x%.0s' {{1..99}})\" | head -c {megabytes}000000")
        through_runner(folder / "script.sh", folder, LiveView(lambda *_: None))
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


def first_line(folder: Path, rounds: int) -> None:
    source.SETTLE_SECONDS = 0.0
    bundle = folder / "bundle.zip"
    with zipfile.ZipFile(bundle, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("script.sh", "echo first\n")
        for i in range(50):
            archive.writestr(f"lib/module{i}.py", "print('hello')\n" * 100)
    (folder / "script.sh").write_text("echo first\n")
    cache, results = BundleCache(folder / "cache"), ResultStore(str(folder / "results"))
    plain, ours, whole = [], [], []
    for i in range(rounds * 10 + 1):
        started = time.perf_counter()
        with subprocess.Popen(["bash", str(folder / "script.sh")], stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            process.stdout.readline()
            plain.append(time.perf_counter() - started)
        seen: list[float] = []
        task = Task(
            identity=ExecutionId(workflow="w", batch_id=str(i), job="j", attempt="1"),
            telling=Telling(job="j"),
            bundle=bundle,
        )
        started = time.perf_counter()
        Execution(
            task,
            cache=cache,
            results=results,
            work=folder / "work",
            show=lambda *_, seen=seen: seen.append(time.perf_counter()),
        ).run()
        whole.append(time.perf_counter() - started)
        ours.append(seen[0] - started)
    # The first one unpacks.
    base, mine = statistics.median(plain[1:]) * 1000, statistics.median(ours[1:]) * 1000
    end = statistics.median(whole[1:]) * 1000
    print(f"start to first line, cached zip of 51 files: bash {base:.1f} ms, ours {mine:.1f} ms")
    print(f"  {mine - base:.1f} ms more; not cached {ours[0] * 1000:.1f} ms; to the end, result stored, {end:.1f} ms")


def handover(folder: Path, megabytes: int) -> None:
    def run(job: str, command: str, **options: Any) -> tuple[float, dict[str, Any]]:
        started = time.perf_counter()
        outcome = Execution(
            Task(
                identity=ExecutionId(workflow="w", batch_id="1", job=job, attempt="1"),
                telling=Telling(job=job),
                command=command,
                **options,
            ),
            cache=BundleCache(folder / "cache"),
            results=ResultStore(str(folder / "results")),
            work=folder / "work",
        ).run()
        assert outcome.state == "success"
        return time.perf_counter() - started, outcome.reference()

    _, reference = run("one", f'head -c {megabytes}000000 /dev/urandom > "$BATCHY_OUTPUT"')
    stored = Path(reference["url"].removeprefix("file://"))
    started = time.perf_counter()
    subprocess.run(["bash", "-c", 'cp "$1" "$2" && cat "$2" > "$2".read', "-", stored, folder / "copy"], check=True)
    plain = time.perf_counter() - started
    ours, _ = run("two", "cat > read", input=reference)
    print(f"{megabytes} MB to the next script: cp and cat {plain:.2f} s, ours {ours:.2f} s, {ours / plain:.2f} times")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[1])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--memory", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.memory:
        memory_child(options.memory)
        return
    with tempfile.TemporaryDirectory() as name:
        throughput(Path(name), options.rounds)
    memory()
    with tempfile.TemporaryDirectory() as name:
        first_line(Path(name), options.rounds)
    with tempfile.TemporaryDirectory() as name:
        handover(Path(name), 1000)


if __name__ == "__main__":
    main()
