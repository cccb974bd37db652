# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""A disk that is full: the job fails and says so, nothing half stays, and the next run takes the same window."""

from __future__ import annotations

import os
import subprocess
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from batchy_provider.bundles.bundle_cache import BundleCache
from batchy_provider.bundles.errors import BundleError
from batchy_provider.bundles.execution import Execution
from batchy_provider.bundles.execution_id import ExecutionId
from batchy_provider.bundles.execution_outcome import ExecutionOutcome
from batchy_provider.bundles.execution_request import ExecutionRequest
from batchy_provider.bundles.result_store import ResultStore
from batchy_provider.bundles.script_context import ScriptContext


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one MiB."""
    place = tmp_path / "small"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(place)], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"a small file system cannot be mounted here: {mounted.stderr.strip()}")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


Run = Callable[..., ExecutionOutcome]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    def execute(*, results: Path, cache: Path, **what: object) -> ExecutionOutcome:
        task = ExecutionRequest(
            identity=ExecutionId(workflow="wf", batch_id="1", job="load", attempt="1"),
            script_context=ScriptContext(job="load", from_date="2026-11-01", to_date="2026-11-02"),
            **what,
        )
        store, bundles = ResultStore(str(results)), BundleCache(cache)
        return Execution(task, cache=bundles, results=store, work=cache / "work").run()

    return execute


def walk_files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def fill(disk: Path) -> Path:
    """Leave no room at all."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"x" * 4096)
        except OSError:
            return filler


def room(disk: Path) -> int:
    found = os.statvfs(disk)
    return found.f_bavail * found.f_frsize


@pytest.mark.parametrize("where", ["stdout", "stderr", "output", "files"])
def test_results_that_do_not_fit_fail_the_job_and_leave_nothing(
    small_disk: Path, tmp_path: Path, run: Run, where: str
) -> None:
    places = {"results": small_disk / "results", "cache": tmp_path / "cache"}
    command = {
        "stdout": "head -c 3000000 /dev/zero | tr '\\0' x",
        "stderr": "head -c 3000000 /dev/zero | tr '\\0' x >&2",
        "output": 'set -e; head -c 3000000 /dev/zero > "$BATCHY_OUTPUT"',
        "files": 'set -e; head -c 3000000 /dev/zero > "$BATCHY_OUTPUT_DIR/big"',
    }[where]
    # What the script wrote, it wrote to the same disk: not even its complaint fits.
    with pytest.raises(BundleError, match=r"A disk is full: .*No space left on device") as raised:
        run(command=command, **places)
    assert str(small_disk) in str(raised.value), "which disk it is"
    assert room(small_disk) > 900_000, "what did not fit is not kept"
    again = run(command="echo small", **places)
    assert again.state == "success"
    assert len(ResultStore(str(places["results"])).find("wf")) == 1


@pytest.mark.parametrize(("where", "state"), [("$BATCHY_OUTPUT_DIR/big", "success"), ("$BATCHY_OUTPUT", "failed")])
def test_files_that_leave_no_room_for_the_record_are_left_out_and_the_record_says_so(
    small_disk: Path, tmp_path: Path, run: Run, where: str, state: str
) -> None:
    places = {"results": small_disk / "results", "cache": tmp_path / "cache"}
    outcome = run(command=f'head -c 3000000 /dev/zero > "{where}" 2> /dev/null || true; exit 0', **places)
    record = ResultStore(str(places["results"])).latest("wf", "load").record
    assert outcome.state == record["state"] == state
    assert list(record["contents"]) == ["stderr", "stdout"]
    assert "No space left on device" in " ".join([record["reason"], *record["notices"]])


def test_a_disk_of_results_without_any_room_is_named(small_disk: Path, tmp_path: Path, run: Run) -> None:
    (small_disk / "results").mkdir()
    filler = fill(small_disk)
    places = {"results": small_disk / "results", "cache": tmp_path / "cache"}
    with pytest.raises(BundleError, match=r"No space left on device.*the same window") as raised:
        run(command="echo loaded", **places)
    assert str(small_disk) in str(raised.value), "which disk it is"
    filler.unlink()
    assert walk_files(small_disk) == []
    assert run(command="echo loaded", **places).state == "success"


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A zip that needs 3 MB when it is unpacked."""
    file = tmp_path / "big.zip"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("script.sh", "wc -c < data")
        archive.writestr("data", os.urandom(1_500_000))
    return file


def test_a_bundle_that_does_not_fit_in_the_cache_is_not_half_there_afterwards(
    small_disk: Path, tmp_path: Path, run: Run, bundle: Path
) -> None:
    places = {"results": tmp_path / "results", "cache": small_disk / "cache"}
    with pytest.raises(BundleError, match=r"No space left on device.*the same window") as raised:
        run(bundle=bundle, **places)
    assert str(small_disk) in str(raised.value), "which disk it is"
    assert room(small_disk) > 900_000, "nothing of the bundle"
    assert walk_files(tmp_path / "results") == []
    places["cache"] = tmp_path / "bigger"
    assert run(bundle=bundle, **places).state == "success"


def test_a_disk_with_room_for_the_cached_bundle_and_not_for_the_runs_own_copy(
    small_disk: Path, tmp_path: Path, run: Run
) -> None:
    file = tmp_path / "half.zip"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("script.sh", "wc -c < data")
        archive.writestr("data", os.urandom(300_000))
    places = {"results": tmp_path / "results", "cache": small_disk / "cache"}
    assert run(bundle=file, **places).state == "success"
    filler = fill(small_disk)
    with pytest.raises(BundleError, match=r"No space left on device.*the same window"):
        run(bundle=file, **places)
    filler.unlink()
    outcome = run(bundle=file, **places)
    assert outcome.state == "success", "the cached one is as good as before"
    with outcome.stored.open("stdout") as output:
        assert output.read().strip() == b"300000"
