# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Bundles and results on a server that speaks the S3 protocol, seen from two workers that share no disk."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import pytest
from bundle_archives import script, zip_of
from upath import UPath

from batchy_provider.bundles.bundle_cache import BundleCache
from batchy_provider.bundles.errors import BundleError, ResultError
from batchy_provider.bundles.execution import Execution
from batchy_provider.bundles.execution_id import ExecutionId
from batchy_provider.bundles.execution_outcome import ExecutionOutcome
from batchy_provider.bundles.execution_request import ExecutionRequest
from batchy_provider.bundles.result_store import ResultStore
from batchy_provider.bundles.script_context import ScriptContext


@pytest.fixture
def lasting(endpoint: str, s3: Callable[[str], Any]) -> Callable[[str], Any]:
    """What opens a URL with the one client of a process that goes on; Airflow keeps one for each connection."""
    client = s3("s3://site").fs
    assert client.dircache.use_listings_cache

    def open_path(url: str) -> Any:
        path = UPath(url, key="x", secret="x", endpoint_url=endpoint)
        path._fs_cached = client
        return path

    return open_path


Run = Callable[..., ExecutionOutcome]


@pytest.fixture
def run(tmp_path: Path, s3: Callable[[str], Any]) -> Run:
    def execute(worker: str, job: str, command: str | None = None, **options: Any) -> ExecutionOutcome:
        return Execution(
            ExecutionRequest(
                identity=ExecutionId(workflow="sales", batch_id=tmp_path.name, job=job, attempt="1"),
                script_context=ScriptContext(job=job),
                command=command,
                **options,
            ),
            cache=BundleCache(tmp_path / worker / "cache"),
            results=ResultStore("s3://site/results", s3),
            work=tmp_path / worker / "work",
        ).run()

    return execute


@pytest.mark.slow
def test_one_workers_output_is_the_others_input(run: Run, tmp_path: Path, s3: Callable[[str], Any]) -> None:
    """Of a size that is uploaded in several parts."""
    command = "head -c 12000000 /dev/urandom | tee $BATCHY_OUTPUT | sha256sum; echo note > $BATCHY_OUTPUT_DIR/a.txt"
    first = run("one", "extract", command)
    second = run("two", "load", "sha256sum; wc -c < $BATCHY_INPUT", input=first.reference())
    with first.stored.open("stdout") as file:
        digest = file.read()
    with second.stored.open("stdout") as file:
        assert file.read() == digest + b"12000000\n"
    assert digest.split()[0].decode() == first.reference()["sha256"]
    found = ResultStore("s3://site/results", s3).find("sales", tmp_path.name)
    assert [execution.record["job"] for execution in found] == ["extract", "load"]
    with found[0].open("files/a.txt") as file:
        assert file.read() == b"note\n"
    assert list((tmp_path / "one" / "work").iterdir()) == []


@pytest.mark.slow
def test_a_zip_is_fetched_once_until_it_changes(run: Run, tmp_path: Path, s3: Callable[[str], Any]) -> None:
    bundle = s3(f"s3://site/{tmp_path.name}.zip")
    bundle.write_bytes(zip_of(script("echo one")))
    cache = BundleCache(tmp_path / "cache")
    for number, cached in ((1, False), (2, True)):
        fetched = cache.working_copy(s3(str(bundle)), tmp_path / f"copy{number}")
        assert fetched.cached is cached
    assert fetched.sha256 == hashlib.sha256(zip_of(script("echo one"))).hexdigest()
    bundle.write_bytes(zip_of(script("echo two")))
    assert not cache.working_copy(bundle, tmp_path / "copy3").cached
    assert (tmp_path / "copy3/script.sh").read_text() == "echo two"


@pytest.mark.slow
def test_a_folder_is_fetched(run: Run, tmp_path: Path, s3: Callable[[str], Any]) -> None:
    bundle = s3(f"s3://site/{tmp_path.name}")
    (bundle / "script.sh").write_text("cat lib/a")
    (bundle / "lib" / "a").write_text("from a folder")
    outcome = run("one", "t", bundle=bundle)
    with outcome.stored.open("stdout") as file:
        assert file.read() == b"from a folder"


def put(endpoint: str, *keys: str, body: bytes = b"") -> None:
    """Write objects under exactly these names, as a console or a sync tool does."""
    client = boto3.client(
        "s3", endpoint_url=endpoint, aws_access_key_id="x", aws_secret_access_key="x", region_name="us-east-1"
    )
    for key in keys:
        client.put_object(Bucket="site", Key=key, Body=body)


@pytest.mark.slow
@pytest.mark.parametrize("slash", ["", "/"])
def test_a_folder_with_folder_markers_is_fetched(
    tmp_path: Path, endpoint: str, s3: Callable[[str], Any], slash: str
) -> None:
    """The console of S3 makes an object `lib/` for a folder; a listing of the folder contains it."""
    name = f"marked-{tmp_path.name}"
    s3(f"s3://site/{name}/script.sh").write_text("true")
    s3(f"s3://site/{name}/lib/a").write_text("a")
    put(endpoint, f"{name}/", f"{name}/lib/", f"{name}/empty/")
    for copy in ("one", "two"):
        fetched = BundleCache(tmp_path / "cache").working_copy(s3(f"s3://site/{name}{slash}"), tmp_path / copy)
        found = sorted(path.relative_to(tmp_path / copy).as_posix() for path in (tmp_path / copy).rglob("*"))
        assert found == ["empty", "lib", "lib/a", "script.sh"]
    assert fetched.cached


@pytest.mark.parametrize(("key", "body"), [("lib//a", b""), ("lib/", b"data")])
def test_an_object_that_no_folder_can_hold_is_named(
    tmp_path: Path, endpoint: str, s3: Callable[[str], Any], key: str, body: bytes
) -> None:
    name = f"odd-{tmp_path.name}"
    s3(f"s3://site/{name}/script.sh").write_text("true")
    put(endpoint, f"{name}/{key}", body=body)
    with pytest.raises(BundleError, match=rf"lib holds an object 'site/{name}/lib/'"):
        BundleCache(tmp_path / "cache").working_copy(s3(f"s3://site/{name}"), tmp_path / "copy")


@pytest.mark.slow
def test_results_are_found_beside_folder_markers(
    run: Run, tmp_path: Path, endpoint: str, s3: Callable[[str], Any]
) -> None:
    run("one", "extract", "echo x")
    place = f"results/sales/{tmp_path.name}"
    put(endpoint, "results/", "results/sales/", f"{place}/", f"{place}/extract/", f"{place}/extract/1/")
    store = ResultStore("s3://site/results", s3)
    assert [execution.record["job"] for execution in store.find("sales", tmp_path.name)] == ["extract"]
    assert store.workflows() == ["sales"]
    store.prune("sales", keep=0)
    assert store.find("sales") == []


@pytest.mark.slow
def test_pruning_empties_the_bucket(run: Run, tmp_path: Path, s3: Callable[[str], Any]) -> None:
    outcome = run("one", "t", "echo x")
    store = ResultStore("s3://site/results", s3)
    assert store.prune("sales", keep=0) >= 1
    assert store.find("sales") == []
    with pytest.raises(ResultError, match="is gone"):
        store.fetch(outcome.reference(), tmp_path / "input")


@pytest.mark.slow
def test_a_process_that_goes_on_sees_what_others_have_written_since(
    run: Run, tmp_path: Path, lasting: Callable[[str], Any]
) -> None:
    """As the API server: its client of the store keeps listings, for ever if nobody says that they are old."""
    reader = ResultStore("s3://site/results", lasting)
    batch = tmp_path.name

    def jobs() -> list[str]:
        return [execution.record["job"] for execution in reader.find("sales", batch)]

    assert jobs() == []
    run("one", "extract", "echo x")
    assert jobs() == ["extract"]
    assert reader.batches("sales")[0] == batch
    with pytest.raises(ResultError, match="no execution"):
        reader.latest("sales", "load", batch)
    loaded = run("two", "load", "echo y; echo 1 > $BATCHY_OUTPUT_DIR/n.json")
    assert jobs() == ["extract", "load"]
    with reader.latest("sales", "load", batch).open("files/n.json") as file:
        assert file.read() == b"1\n"
    reader.fetch(loaded.reference(), tmp_path / "fetched")


def test_a_folder_that_others_have_changed_since_is_read_anew(
    tmp_path: Path, s3: Callable[[str], Any], lasting: Callable[[str], Any]
) -> None:
    kept, other = lasting(f"s3://site/{tmp_path.name}"), s3(f"s3://site/{tmp_path.name}")
    (other / "script.sh").write_text("true")
    cache = BundleCache(tmp_path / "cache")
    cache.working_copy(kept, tmp_path / "one")
    (other / "new.txt").write_text("new")
    cache.working_copy(kept, tmp_path / "two")
    assert sorted(path.name for path in (tmp_path / "two").iterdir()) == ["new.txt", "script.sh"]
