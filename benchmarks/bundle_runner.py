# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""
What running a bundle costs, as ratios to plain bash in the same run.

1. One million lines of 100 bytes, through the runner into its files, against `bash script.sh > file`;
   with and without a live view.
2. Peak memory of the process that runs the script, at 1 MB, 100 MB and 2 GB of output.
3. From start to the first line that the live view shows, for a cached zip, against plain bash.
4. An output of 1 GB handed to the next script: on local disk (copied and its digest checked) against `cp` and `cat`;
   over S3 (moto's server in a separate process, two workers without a common disk) against s3fs alone.
   Peak memory of the process that does it.

Usage: python benchmarks/bundle_runner.py [--rounds N] [--only lines,memory,first,local,s3]
"""

from __future__ import annotations

import argparse
import contextlib
import os
import resource
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from batchy_provider.bundles import bundle_source as source
from batchy_provider.bundles.bundle_cache import BundleCache
from batchy_provider.bundles.execution import Execution
from batchy_provider.bundles.execution_id import ExecutionId
from batchy_provider.bundles.execution_request import ExecutionRequest
from batchy_provider.bundles.live_output import LiveView
from batchy_provider.bundles.result_store import ResultStore
from batchy_provider.bundles.run_request import RunRequest
from batchy_provider.bundles.runner import Runner
from batchy_provider.bundles.script_context import ScriptContext
from batchy_provider.local.ports import free_port

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
    request = RunRequest(
        command=["bash", str(script)],
        cwd=folder,
        env={"PATH": os.environ["PATH"]},
        stdout=folder / "stdout",
        stderr=folder / "stderr",
    )
    Runner(request, view=view).run()
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
    for megabytes in (1, 100, 2000):
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
        task = ExecutionRequest(
            identity=ExecutionId(workflow="w", batch_id=str(i), job="j", attempt="1"),
            script_context=ScriptContext(job="j"),
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


def hand_over(folder: Path, megabytes: int, open_results: Callable[[], ResultStore]) -> tuple[float, float]:
    """Seconds of the job that writes, and of the job that reads."""
    seconds = []
    reference = None
    for job, command in (("one", f'head -c {megabytes}000000 /dev/urandom > "$BATCHY_OUTPUT"'), ("two", "cat > read")):
        worker = folder / job
        started = time.perf_counter()
        outcome = Execution(
            ExecutionRequest(
                identity=ExecutionId(workflow="w", batch_id="1", job=job, attempt="1"),
                script_context=ScriptContext(job=job),
                command=command,
                input=reference,
            ),
            cache=BundleCache(worker / "cache"),
            results=open_results(),
            work=worker / "work",
        ).run()
        seconds.append(time.perf_counter() - started)
        assert outcome.state == "success", outcome.reason
        reference = outcome.reference()
    return seconds[0], seconds[1]


def local_child(megabytes: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        stored = folder / "results/w/1/one/1/output"
        writing, reading = hand_over(folder, megabytes, lambda: ResultStore(str(folder / "results")))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        started = time.perf_counter()
        generate = f'head -c {megabytes}000000 /dev/urandom > "$1"'
        subprocess.run(["bash", "-c", generate, "-", folder / "made"], check=True)
        making = time.perf_counter() - started
        started = time.perf_counter()
        subprocess.run(["bash", "-c", 'cp "$1" "$2" && cat "$2" > "$2".read', "-", stored, folder / "copy"], check=True)
        report("local", megabytes, (making, time.perf_counter() - started), (writing, reading), peak)


def s3_child(megabytes: int) -> None:
    from upath import UPath

    port = free_port()
    server = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    options: dict[str, Any] = {
        "key": "x",
        "secret": "x",
        "endpoint_url": f"http://127.0.0.1:{port}",
        "skip_instance_cache": True,
    }

    def open_path(url: str) -> Any:
        return UPath(url, **options)

    try:
        wait_until_open(port)
        open_path("s3://site").mkdir()
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            writing, reading = hand_over(folder, megabytes, lambda: ResultStore("s3://site/results", open_path))
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            started = time.perf_counter()
            generate = f'head -c {megabytes}000000 /dev/urandom > "$1"'
            subprocess.run(["bash", "-c", generate, "-", folder / "made"], check=True)
            open_path("s3://site").fs.put_file(str(folder / "made"), "site/plain")
            making = time.perf_counter() - started
            started = time.perf_counter()
            open_path("s3://site").fs.get_file("site/plain", str(folder / "got"))
            subprocess.run(["bash", "-c", 'cat "$1" > "$1".read', "-", folder / "got"], check=True)
            report("S3", megabytes, (making, time.perf_counter() - started), (writing, reading), peak)
    finally:
        server.terminate()
        server.wait()


def report(
    where: str, megabytes: int, plain: tuple[float, float], ours: tuple[float, float], peak_mebibytes: float
) -> None:
    for what, base, mine in zip(("written by a job", "read by the next"), plain, ours, strict=True):
        print(f"{megabytes} MB, {where}, {what}: plain {base:.2f} s, ours {mine:.2f} s, {mine / base:.2f} times")
    print(f"  peak memory of the worker's process: {peak_mebibytes:.0f} MiB")


def wait_until_open(port: int) -> None:
    for _ in range(300):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return
        time.sleep(0.1)
    raise SystemExit("moto's server does not start")


def in_child(what: str, megabytes: int) -> None:
    """Run it in a separate process, to measure its peak memory alone."""
    subprocess.run([sys.executable, __file__, f"--{what}", str(megabytes)], check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[1])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="lines,memory,first,local,s3")
    for what in ("memory", "local", "s3"):
        parser.add_argument(f"--{what}", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    for child, megabytes in ((memory_child, options.memory), (local_child, options.local), (s3_child, options.s3)):
        if megabytes:
            child(megabytes)
            return
    only = options.only.split(",")
    with tempfile.TemporaryDirectory() as name:
        if "lines" in only:
            throughput(Path(name), options.rounds)
    if "memory" in only:
        memory()
    with tempfile.TemporaryDirectory() as name:
        if "first" in only:
            first_line(Path(name), options.rounds)
    for what in ("local", "s3"):
        if what in only:
            in_child(what, 1000)


if __name__ == "__main__":
    main()
