# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""
What masking costs: one million lines of 100 bytes through the runner into its files, with and without secrets.

Each is a ratio to the same run without secrets, in the same round: none of the secrets met, one in a hundred lines, one
in every line. Counted is the processor time of the process that runs the script, which other programs on the machine
disturb little. And its peak memory, at 1 MB and 1 GB of output with a secret in every line.

Usage: python benchmarks/masking.py [--rounds N]
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import statistics
import string
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from batchy_provider.bundles.live_output import LiveView
from batchy_provider.bundles.masking import Masker
from batchy_provider.bundles.run_request import RunRequest
from batchy_provider.bundles.runner import Runner

LINES = 1_000_000
FIRST = "Secret-of-20-letters"
SCRIPTS = {
    "no secret met": ('yes "$(printf \'x%.0s\' {1..99})" | head -n 1000000', 0),
    "no secret met, prose": ('yes "the quick brown fox jumps over the lazy dog; SELECT a, b FROM t WHERE day = 7; \
000000000000000" | head -n 1000000', 0),
    "one in 100 lines": (f'yes "$(for i in {{1..99}}; do printf "%099d\\n" 0; done; printf "%079d{FIRST}" 0)" \
| head -n 1000000', LINES // 100),
    "one in every line": (f'yes "$(printf "%079d{FIRST}" 0)" | head -n 1000000', LINES),
}  # fmt: skip


def secrets(count: int) -> list[str]:
    made = random.Random(7)
    letters = string.ascii_letters + string.digits
    return [FIRST, *("".join(made.choices(letters, k=20)) for _ in range(count - 1))][:count]


def seconds(folder: Path, masker: Masker) -> tuple[float, int]:
    for name in ("stdout", "stderr"):
        (folder / name).unlink(missing_ok=True)
    started = time.process_time()
    request = RunRequest(
        command=["bash", str(folder / "script.sh")],
        cwd=folder,
        env={"PATH": os.environ["PATH"]},
        stdout=folder / "stdout",
        stderr=folder / "stderr",
    )
    result = Runner(request, masker=masker, view=LiveView(lambda *_: None)).run()
    return time.process_time() - started, result.stdout_masked


def throughput(rounds: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for what, (text, expected) in SCRIPTS.items():
            (folder / "script.sh").write_text(text)
            times: dict[int, list[float]] = {count: [] for count in (0, 1, 5, 30)}
            for _ in range(rounds):
                for count, taken in times.items():
                    spent, masked = seconds(folder, Masker(secrets(count)))
                    assert masked == (expected if count else 0), masked
                    taken.append(spent)
            plain = statistics.median(times.pop(0))
            print(f"{what}: without secrets {plain:.3f} s")
            for count, taken in times.items():
                ratio = statistics.median(taken) / plain
                print(f"  {count} secrets known: {statistics.median(taken):.3f} s, {ratio:.2f} times")


def memory() -> None:
    for megabytes in (1, 1000):
        command = [sys.executable, __file__, "--memory", str(megabytes)]
        peak = int(subprocess.run(command, capture_output=True, check=True, text=True).stdout) / 1024
        print(f"peak memory at {megabytes} MB of output, a secret in every line: {peak:.1f} MiB")


def memory_child(megabytes: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "script.sh").write_text(f'yes "$(printf "%079d{FIRST}" 0)" | head -c {megabytes}000000')
        seconds(folder, Masker(secrets(5)))
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[1])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--memory", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.memory:
        memory_child(options.memory)
        return
    throughput(options.rounds)
    memory()


if __name__ == "__main__":
    main()
