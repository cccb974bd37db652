# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Rights, checks and audit entries go by everything that an upload changes; a check changes nothing."""

from __future__ import annotations

import hashlib
import os
import zipfile
from collections.abc import Callable, Collection
from pathlib import Path

import pytest

from batchy_provider.config.reader import InvalidFilesError
from batchy_provider.core.values import Actor
from batchy_provider.exceptions import BatchyError, ConfigError
from batchy_provider.services.answers import Audit
from batchy_provider.services.composition import Services
from batchy_provider.services.upload_files import UploadConflictError, UploadStorageError
from batchy_provider.services.upload_requests import AfterJob, Upload, UploadedFile

EVE = Actor("eve", "rest", "127.0.0.1")
MINE = "jobs:\n  k: {bundle: shared.zip}\n"

Give = Callable[[str, str], UploadedFile]


class ForbiddenError(Exception):
    """The caller may not."""


@pytest.fixture
def give(tmp_path: Path) -> Give:
    """A file of an upload: a workflow file, or a zip whose script is the text."""

    def make(name: str, content: str) -> UploadedFile:
        path = tmp_path / hashlib.sha256(f"{name}{content}".encode()).hexdigest()
        if name.endswith(".zip"):
            put_zip(path, content)
        else:
            path.write_text(content)
        return UploadedFile(name, path)

    return make


def put_zip(path: Path, script: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("script.sh", script)


def only(*mine: str) -> Callable[[Collection[str], Collection[str]], None]:
    """Rights for some workflows alone."""

    def authorize(workflows: Collection[str], others: Collection[str]) -> None:
        if not {*workflows, *others} <= {*mine}:
            raise ForbiddenError

    return authorize


def state(folder: Path) -> dict[str, tuple[object, ...]]:
    """Everything of a folder that a write would change."""
    return {
        str(path.relative_to(folder)): (path.lstat().st_ino, path.lstat().st_mtime_ns, path.lstat().st_nlink)
        for path in [folder, *folder.rglob("*")]
    }


@pytest.mark.parametrize(
    "bundle",
    [
        *("shared.zip", "bundles/shared.zip", "./bundles/../bundles/shared.zip", "{cfg}/bundles/shared.zip"),
        *("file://{cfg}/bundles/shared.zip", "LOCAL:{cfg}/bundles/shared.zip", "{link}/bundles/shared.zip"),
        *("{{{{ params.x }}}}.zip", "{{{{ params.folder }}}}/shared.zip", "sha{{{{ 'red' }}}}.zip"),
    ],
)
def test_a_bundle_that_another_workflow_runs_is_changed_only_with_the_right_for_it(
    services: Services, cfg: Path, give: Give, audits: list[Audit], bundle: str
) -> None:
    (cfg.parent / "link").symlink_to(cfg)
    put_zip(cfg / "bundles" / "shared.zip", "echo theirs")
    named = bundle.format(cfg=cfg, link=cfg.parent / "link")
    (cfg / "theirs.yaml").write_text(f'jobs:\n  load: {{bundle: "{named}"}}\n')
    wanted = Upload(
        configs=[give("mine.yaml", MINE)], bundles=[give("shared.zip", "echo stolen; rm -rf ~")], replace=True
    )
    before = state(cfg)
    for ask in (services.uploads.check, lambda *a, **k: services.uploads.store(*a, actor=EVE, **k)):
        with pytest.raises(ForbiddenError):
            ask(wanted, authorize=only("mine"))
    assert {name: facts for name, facts in state(cfg).items() if name != "." and ".uploads" not in name} == {
        name: facts for name, facts in before.items() if name != "."
    }
    stored = services.uploads.store(wanted, actor=EVE, authorize=only("mine", "theirs"))
    assert stored.also_changed == ["theirs"]
    assert [(each.workflow, list(each.details["files"])) for each in audits] == [
        ("mine", ["mine.yaml", "bundles/shared.zip"]),
        ("theirs", ["bundles/shared.zip"]),
    ]


def test_a_workflow_with_faults_counts_too(services: Services, cfg: Path, give: Give) -> None:
    put_zip(cfg / "bundles" / "shared.zip", "echo theirs")
    wanted = Upload(configs=[give("mine.yaml", MINE)], bundles=[give("shared.zip", "echo stolen")], replace=True)
    for text in ("jobs:\n  load: {bundle: shared.zip}\nowner: [", "jobs: {load: {bundle: shared.zip, bsh: 1}}"):
        (cfg / "theirs.yaml").write_text(text)
        with pytest.raises(ForbiddenError):
            services.uploads.check(wanted, authorize=only("mine"))


def test_a_new_bundle_that_another_workflow_waits_for_counts_too(services: Services, cfg: Path, give: Give) -> None:
    (cfg / "theirs.yaml").write_text("jobs:\n  load: {bundle: shared.zip}\n")  # not there: a fault today
    wanted = Upload(configs=[give("mine.yaml", MINE)], bundles=[give("shared.zip", "echo stolen")])
    with pytest.raises(ForbiddenError):
        services.uploads.check(wanted, authorize=only("mine"))


def test_bundles_of_other_folders_are_no_ones_business(services: Services, cfg: Path, give: Give) -> None:
    put_zip(cfg / "team" / "bundles" / "shared.zip", "echo theirs")
    (cfg / "team" / "theirs.yaml").write_text("jobs:\n  load: {bundle: shared.zip}\n")
    (cfg / "far.yaml").write_text("jobs:\n  load: {bundle: 's3://b/shared.zip'}\n")
    wanted = Upload(configs=[give("mine.yaml", MINE)], bundles=[give("shared.zip", "echo mine")])
    assert services.uploads.store(wanted, actor=EVE, authorize=only("mine")).also_changed == []


@pytest.mark.parametrize("linked", ["bundles", "team", "mine.yaml", "bundles/shared.zip", ".uploads"])
def test_no_link_is_followed(services: Services, cfg: Path, tmp_path: Path, give: Give, linked: str) -> None:
    live = tmp_path / "live"
    (live / "bundles").mkdir(parents=True)
    put_zip(live / "shared.zip", "live")
    put_zip(live / "bundles" / "shared.zip", "live")
    (live / "mine.yaml").write_text("jobs: {k: {bash: 'true'}}\n")
    (cfg / linked).parent.mkdir(exist_ok=True)
    leads = {"mine.yaml": live / "mine.yaml", "bundles/shared.zip": live / "shared.zip"}.get(linked, live)
    (cfg / linked).symlink_to(leads)
    wanted = Upload(configs=[give("mine.yaml", MINE)], bundles=[give("shared.zip", "echo new")], replace=True)
    before = state(live), state(cfg)
    try:
        services.uploads.check(wanted)
    except UploadConflictError as error:
        assert "is a link" in str(error)  # noqa: PT017 - a check may also pass: it writes nothing
    assert (state(live), state(cfg)) == before
    with pytest.raises(UploadConflictError, match="is a link"):
        services.uploads.store(wanted, actor=EVE)
    assert state(live) == before[0]


def test_a_check_writes_nothing_and_needs_no_right_to_write(services: Services, cfg: Path, give: Give) -> None:
    put_zip(cfg / "team" / "bundles" / "shared.zip", "echo theirs")
    (cfg / "folder").mkdir()
    (cfg / "folder" / "script.sh").write_text("true")
    (cfg / "loop").symlink_to(cfg)
    (cfg / "gone.yaml").symlink_to("nowhere")
    os.mkfifo(cfg / "pipe")
    (cfg / "old.yaml").write_text("jobs:\n  a: {bundle: folder}\n  b: {bundle: ../elsewhere.zip}\n")
    before = state(cfg)
    services.uploads.check(Upload(configs=[give("mine.yaml", MINE)], bundles=[give("shared.zip", "true")]))
    with pytest.raises(InvalidFilesError):
        services.uploads.check(Upload(configs=[give("mine.yaml", "jobs: {k: {bsh: 1}}\n")]))
    assert state(cfg) == before


def test_a_job_after_one_of_a_workflow_in_a_folder(services: Services, cfg: Path, give: Give) -> None:
    (cfg / "team").mkdir()
    (cfg / "team" / "sales.yaml").write_text("jobs:\n  extract: {bash: 'true'}\n")
    after = AfterJob(workflow="sales", job="extract")
    stored = services.uploads.store(Upload(bundles=[give("audit.zip", "cat")], after=after), actor=EVE)
    assert set(stored.files) == {"team/sales.yaml", "team/bundles/audit.zip"}
    assert "audit" in services.workflows.get("sales").summary.jobs
    assert services.workflows.get("sales").faults == []


def test_a_workflow_in_a_folder_is_replaced_where_it_is(services: Services, cfg: Path, give: Give) -> None:
    (cfg / "team").mkdir()
    (cfg / "team" / "mine.yaml").write_text("jobs:\n  extract: {bash: 'true'}\n")
    wanted = Upload(configs=[give("mine.yaml", MINE)], bundles=[give("shared.zip", "true")], replace=True)
    stored = services.uploads.store(wanted, actor=EVE)
    assert (set(stored.files), stored.replaced) == (
        {"team/mine.yaml", "team/bundles/shared.zip"},
        ["team/mine.yaml"],
    )
    assert services.workflows.get("mine").faults == []


@pytest.mark.parametrize(
    "name", [".schema.json", ".x.yaml", "..yaml", "_defaults.yaml", "_Defaults.yml", "_DEFAULTS.json"]
)
def test_a_file_that_is_not_read_as_a_workflow_is_refused(services: Services, cfg: Path, give: Give, name: str) -> None:
    with pytest.raises(ConfigError):
        services.uploads.store(Upload(configs=[give(name, '{"jobs": {"a": {"bash": "true"}}}')]), actor=EVE)
    assert not [path for path in cfg.rglob("*") if path.is_file() and path.name != "lock"]


@pytest.mark.parametrize("name", [".a.zip", "..zip", ".zip", "a.ZIP", "a.zip\n", "bundles/a.zip", "a.zip.yaml"])
def test_odd_names_of_bundles_are_refused(services: Services, cfg: Path, give: Give, name: str) -> None:
    bundle = UploadedFile(name, give("a.zip", "true").path)
    with pytest.raises(BatchyError):
        services.uploads.store(Upload(configs=[give("mine.yaml", MINE)], bundles=[bundle]), actor=EVE)
    assert not (cfg / "mine.yaml").exists()


def test_a_zip_that_no_workflow_of_the_upload_names_is_refused(services: Services, cfg: Path, give: Give) -> None:
    put_zip(cfg / "shared.zip", "found first")
    for more, config in (("other.zip", MINE), ("shared.zip", MINE), ("other.zip", "load: {region: eu}\n")):
        with pytest.raises(ConfigError, match="no job of this upload runs the bundle"):
            services.uploads.store(
                Upload(configs=[give("mine.yaml", config)], bundles=[give(more, "not looked into")]), actor=EVE
            )
    assert not (cfg / "bundles").exists()


def test_names_that_differ_in_case_alone_are_refused(services: Services, cfg: Path, give: Give) -> None:
    (cfg / "Mine.yaml").write_text("jobs: {a: {bash: 'true'}}\n")
    with pytest.raises(UploadConflictError, match="upper and lower case"):
        services.uploads.store(Upload(configs=[give("mine.yaml", "jobs: {a: {bash: 'true'}}\n")]), actor=EVE)


@pytest.mark.parametrize("bundle", ["file:///etc/passwd", "/etc/passwd", "../x.zip", "LOCAL:/dev/zero", "{link}", "."])
def test_a_bundle_outside_is_refused_and_not_looked_at(
    services: Services, cfg: Path, tmp_path: Path, give: Give, bundle: str
) -> None:
    (tmp_path / "outside").mkdir()
    (cfg / "out").symlink_to(tmp_path / "outside")
    config = f"jobs:\n  k: {{bundle: {bundle.format(link='out/x.zip')!r}}}\n"
    with pytest.raises(ConfigError, match="outside of the folder") as raised:
        services.uploads.check(Upload(configs=[give("mine.yaml", config)]))
    assert "passwd" not in str(raised.value).replace(bundle, "")


def test_what_a_file_names_outside_today_stays(services: Services, cfg: Path, tmp_path: Path, give: Give) -> None:
    put_zip(tmp_path / "far.zip", "true")
    text = f"jobs:\n  extract: {{bundle: {tmp_path}/far.zip}}\n"
    (cfg / "sales.yaml").write_text(text)
    after = AfterJob(workflow="sales", job="extract")
    services.uploads.store(Upload(bundles=[give("audit.zip", "cat")], after=after), actor=EVE)
    with pytest.raises(ConfigError, match="outside"):
        services.uploads.store(Upload(configs=[give("other.yaml", text)]), actor=EVE)


def test_a_disk_that_takes_nothing_is_an_error_of_its_own(services: Services, cfg: Path, give: Give) -> None:
    (cfg / ".uploads").write_text("in the way")
    with pytest.raises(UploadStorageError, match="cannot be stored"):
        services.uploads.store(Upload(configs=[give("mine.yaml", "jobs: {a: {bash: 'true'}}\n")]), actor=EVE)
