# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Uploads: all or nothing, and nothing that is wrong; what a killed one leaves is finished or removed."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from batchy_provider.bundles.errors import BundleError
from batchy_provider.config.reader import InvalidFilesError
from batchy_provider.core.values import Actor
from batchy_provider.exceptions import BatchyError, ConfigError
from batchy_provider.services import uploads
from batchy_provider.services.answers import Audit
from batchy_provider.services.composition import Services
from batchy_provider.services.upload_files import UploadConflictError
from batchy_provider.services.upload_requests import AfterJob, Upload, UploadedFile

ANN = Actor("ann", "rest", "127.0.0.1")
SALES = "jobs:\n  extract: {bundle: extract.zip}   # the first\n  load: {bash: 'true'}\n"

Give = Callable[[str, "str | dict[str, str]"], UploadedFile]


@pytest.fixture
def give(tmp_path: Path) -> Give:
    """A file of an upload: text, or a zip of name → text."""
    folder = tmp_path / "given"
    folder.mkdir()

    def make(name: str, content: str | dict[str, str]) -> UploadedFile:
        path = folder / hashlib.sha256(f"{name}{content}".encode()).hexdigest()
        if isinstance(content, str):
            path.write_text(content)
        else:
            with zipfile.ZipFile(path, "w") as archive:
                for entry, text in content.items():
                    archive.writestr(entry, text)
        return UploadedFile(name, path)

    return make


def tree(folder: Path) -> dict[str, str]:
    """File → content of what is visible in a folder."""
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    return {name: path.read_bytes().hex() for name, path in files.items() if not name.startswith(".")}


def test_a_workflow_with_its_bundle_is_stored(services: Services, cfg: Path, give: Give, audits: list[Audit]) -> None:
    bundle = give("extract.zip", {"script.sh": "echo hello"})
    wanted = Upload(configs=[give("sales.yaml", SALES)], bundles=[bundle])
    stored = services.uploads.store(wanted, actor=ANN, why="new team")
    assert (cfg / "sales.yaml").read_text() == SALES
    assert (cfg / "bundles" / "extract.zip").read_bytes() == bundle.path.read_bytes()
    assert (stored.workflows, stored.replaced) == (["sales"], [])
    assert stored.files["sales.yaml"] == hashlib.sha256(SALES.encode()).hexdigest()
    assert [(audit.action, audit.workflow, audit.why) for audit in audits] == [("upload", "sales", "new team")]
    assert services.workflows.get("sales").summary.jobs == ["extract", "load"]


def test_a_check_stores_nothing(services: Services, cfg: Path, give: Give, audits: list[Audit]) -> None:
    wanted = Upload(configs=[give("sales.yaml", SALES)], bundles=[give("extract.zip", {"script.sh": "true"})])
    assert services.uploads.check(wanted).workflows == ["sales"]
    assert (tree(cfg), audits) == ({}, [])


@pytest.mark.parametrize(
    ("config", "bundle", "told"),
    [
        ("jobs: {extract: {bsh: x}}\n", {"script.sh": ""}, "did you mean 'bash'"),
        (SALES, {"run.sh": ""}, "script.sh"),
        (SALES, {"script.sh": "", "../evil": ""}, "evil"),
        (SALES.replace("extract.zip", "other.zip"), {"script.sh": ""}, "no bundle 'other.zip'"),
        ("wait_for: [nobody]\n" + SALES, {"script.sh": ""}, "no file defines the workflow 'nobody'"),
        ("jobs: [", {"script.sh": ""}, "sales.yaml"),
    ],
)
def test_one_fault_and_nothing_is_stored(
    services: Services, cfg: Path, give: Give, config: str, bundle: dict[str, str], told: str
) -> None:
    good = give("good.yaml", "jobs: {a: {bash: 'true'}}\n")
    wanted = Upload(configs=[good, give("sales.yaml", config)], bundles=[give("extract.zip", bundle)])
    with pytest.raises(InvalidFilesError, match=told) as raised:
        services.uploads.store(wanted, actor=ANN)
    assert {fault.file for fault in raised.value.diagnostics} == {"sales.yaml"}
    assert str(cfg) not in str(raised.value), "the folders of this machine are nobody's business"
    assert tree(cfg) == {}


def test_a_cycle_that_an_upload_would_close_is_found(services: Services, cfg: Path, give: Give) -> None:
    job = "jobs: {a: {bash: 'true'}}\n"
    services.uploads.store(Upload(configs=[give("a.yaml", job)]), actor=ANN)
    services.uploads.store(Upload(configs=[give("b.yaml", f"wait_for: [a]\n{job}")]), actor=ANN)
    with pytest.raises(InvalidFilesError, match="cycle"):
        services.uploads.store(Upload(configs=[give("a.yaml", f"wait_for: [b]\n{job}")], replace=True), actor=ANN)
    assert (cfg / "a.yaml").read_text() == job


def test_faults_of_others_are_not_the_callers(services: Services, cfg: Path, give: Give) -> None:
    (cfg / "broken.yaml").write_text("jobs: {a: {bsh: x}}\n")
    services.uploads.store(Upload(configs=[give("good.yaml", "jobs: {a: {bash: 'true'}}\n")]), actor=ANN)
    assert (cfg / "good.yaml").exists()


@pytest.mark.parametrize(
    "name",
    ["../x.yaml", "/etc/x.yaml", "a/b.yaml", "x.txt", "x", "_defaults.yaml", "s\0.yaml", "", ".yaml"],
)
def test_a_name_that_leads_elsewhere_is_refused(services: Services, cfg: Path, give: Give, name: str) -> None:
    with pytest.raises(BatchyError):
        services.uploads.store(Upload(configs=[give(name, "jobs: {a: {bash: 'true'}}\n")]), actor=ANN)
    with pytest.raises(ConfigError):
        services.uploads.store(Upload(bundles=[give(name.replace("yaml", "zip") + "/", {"script.sh": ""})]), actor=ANN)
    assert tree(cfg.parent / "cfg") == {}


def test_what_is_there_is_replaced_only_when_asked_and_when_it_is_what_was_seen(
    services: Services, cfg: Path, give: Give
) -> None:
    first, second = "jobs: {a: {bash: 'true'}}\n", "jobs: {b: {bash: 'true'}}\n"
    seen = services.uploads.store(Upload(configs=[give("w.yaml", first)]), actor=ANN).files
    with pytest.raises(UploadConflictError, match=r"there already: w\.yaml"):
        services.uploads.store(Upload(configs=[give("w.yaml", second)]), actor=ANN)
    wrong = {"w.yaml": "0" * 64}
    with pytest.raises(UploadConflictError, match="not what it was"):
        services.uploads.store(Upload(configs=[give("w.yaml", second)], replace=True, expected=wrong), actor=ANN)
    stored = services.uploads.store(Upload(configs=[give("w.yaml", second)], replace=True, expected=seen), actor=ANN)
    assert stored.replaced == ["w.yaml"]
    with pytest.raises(UploadConflictError, match=r"defined by w\.yaml already"):
        services.uploads.store(Upload(configs=[give("w.json", json.dumps({"jobs": {}}))], replace=True), actor=ANN)


def test_a_bundle_after_an_existing_job_becomes_a_job(services: Services, cfg: Path, give: Give) -> None:
    (cfg / "sales.yaml").write_text("# every night\njobs:\n  extract: {bash: 'true'}  # the first\n")
    after = AfterJob(workflow="sales", job="extract", takes_input=True, independent=True)
    services.uploads.store(Upload(bundles=[give("audit.zip", {"script.sh": "cat"})], after=after), actor=ANN)
    text = (cfg / "sales.yaml").read_text()
    assert text.startswith("# every night\njobs:\n  extract: {bash: 'true'}  # the first\n")
    job = services.catalog.read().workflows["sales"].model.jobs["audit"]
    assert (job.after, job.input, job.bundle, job.independent) == (["extract"], "extract", "audit.zip", True)
    with pytest.raises(UploadConflictError, match="has a job 'audit' already"):
        services.uploads.store(Upload(bundles=[give("audit.zip", {"script.sh": ""})], after=after), actor=ANN)
    wrong = AfterJob(workflow="sales", job="extrat")
    with pytest.raises(ConfigError, match="did you mean 'extract'"):
        services.uploads.store(Upload(bundles=[give("more.zip", {"script.sh": ""})], after=wrong), actor=ANN)


def test_nothing_and_too_much_are_refused(services: Services, give: Give, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="nothing was uploaded"):
        services.uploads.store(Upload(), actor=ANN)
    with pytest.raises(ConfigError, match="no job runs the bundle"):
        services.uploads.store(Upload(bundles=[give("a.zip", {"script.sh": ""})]), actor=ANN)
    monkeypatch.setattr(uploads, "MAX_FILES", 2)
    some = [give(f"w{n}.yaml", "jobs: {a: {bash: 'true'}}\n") for n in range(3)]
    services.uploads.store(Upload(configs=some[:2]), actor=ANN)
    with pytest.raises(ConfigError, match="at most 2 files"):
        services.uploads.store(Upload(configs=some, replace=True), actor=ANN)
    with pytest.raises(ConfigError, match="same name"):
        services.uploads.store(Upload(configs=[some[0], some[0]]), actor=ANN)


def die_at(services: Services, wanted: Upload, place: str) -> None:
    """Store in a process that is killed at a place."""

    def work() -> None:
        if place == "before the plan":
            uploads.write_file = lambda *_: os._exit(9)
        elif place == "between two files":
            count = iter(range(100))
            real = os.replace

            def dying(*given: object, **more: object) -> None:
                if next(count) == 1:
                    os._exit(9)
                real(*given, **more)

            os.replace = dying
        else:
            services.uploads._audit = lambda *_: os._exit(9)
        services.uploads.store(wanted, actor=ANN)

    process = multiprocessing.get_context("fork").Process(target=work)
    process.start()
    process.join(30)
    assert process.exitcode == 9


@pytest.mark.parametrize("place", ["before the plan", "between two files", "before the record"])
def test_an_upload_that_was_killed_is_finished_or_removed_by_the_next(
    services: Services, cfg: Path, give: Give, audits: list[Audit], place: str
) -> None:
    wanted = Upload(configs=[give("sales.yaml", SALES)], bundles=[give("extract.zip", {"script.sh": "true"})])
    die_at(services, wanted, place)
    assert place == "before the record" or "sales.yaml" not in tree(cfg), "a workflow comes after its bundles"
    services.uploads.store(Upload(configs=[give("other.yaml", "jobs: {a: {bash: 'true'}}\n")]), actor=ANN)
    stored = {"sales.yaml", "bundles/extract.zip"} if place != "before the plan" else set()
    assert set(tree(cfg)) == {"other.yaml"} | stored
    assert [(each.workflow, each.actor) for each in audits] == [("sales", ANN)] * bool(stored) + [("other", ANN)]
    assert [path.name for path in (cfg / ".uploads").iterdir()] == ["lock"]


def test_of_many_at_once_with_one_name_one_wins(services: Services, cfg: Path, give: Give) -> None:
    from concurrent.futures import ThreadPoolExecutor

    files = [give("w.yaml", f"jobs: {{a{n}: {{bash: 'true'}}}}\n") for n in range(8)]

    def one(file: UploadedFile) -> str:
        try:
            return services.uploads.store(Upload(configs=[file]), actor=ANN).files["w.yaml"]
        except UploadConflictError:
            return ""

    with ThreadPoolExecutor(8) as pool:
        won = [digest for digest in pool.map(one, files) if digest]
    assert won == [hashlib.sha256((cfg / "w.yaml").read_bytes()).hexdigest()]


def test_a_bundle_error_is_one_of_ours() -> None:
    assert issubclass(BundleError, BatchyError)
