# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The API server serves bundles below the folder of workflow files, and no other file of its machine."""

from __future__ import annotations

import io
import os
import shutil
import threading
import zipfile
from pathlib import Path

import pytest
from api_server import Api
from hypothesis import given
from hypothesis import strategies as st

from batchy_provider.bundles.confined_files import as_local_path, open_below, path_below

MARKER = "secret-of-the-api-server"
JOB = "/api/v1/workflows/thief/jobs/k/bundle"


def zipped(**files: str) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, text in files.items():
            archive.writestr(name.replace("__", "."), text)
    return out.getvalue()


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """Make a folder on the server with a secret, a zip and a bundle."""
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "airflow.cfg").write_text(MARKER)
    (folder / "whole.zip").write_bytes(zipped(script__sh=MARKER))
    (folder / "script.sh").write_text(MARKER)
    return folder


def thief(api: Api, bundle: str) -> None:
    (api.cfg / "thief.yaml").write_text(f"jobs:\n  k: {{bundle: {bundle!r}}}\n")


FORMS = (
    *("file://{path}", "FILE://{path}", "file:{path}", "file://localhost{path}", "local://{path}", "LOCAL:{path}"),
    *(" file://{path}", "{path}", "../outside/{name}", "./../outside/{name}", "bundles/../../outside/{name}"),
    *("file:..%2foutside%2f{name}", "file://{quoted}", "file://[{path}", "simplecache::file://{path}"),
    *("zip://script.sh::file://{path}", "filecache::local://{path}"),
)


def test_nothing_outside_is_served(api: Api, outside: Path) -> None:
    client = api.client("admin")
    for name in ("airflow.cfg", "whole.zip", ""):
        path = f"{outside}/{name}".rstrip("/")
        for form in FORMS:
            thief(api, form.format(path=path, name=name, quoted=path.replace("outside", "%6futside")))
            answer = client.get(JOB)
            assert answer.status_code in (403, 404, 422), (form, name)
            assert MARKER not in answer.text


def test_no_link_leads_out(api: Api, outside: Path) -> None:
    (api.cfg / "bundles").mkdir()
    (api.cfg / "bundles" / "file.zip").symlink_to(outside / "whole.zip")
    (api.cfg / "bundles" / "cfg.zip").symlink_to(outside / "airflow.cfg")
    (api.cfg / "bundles" / "folder").symlink_to(outside)
    (api.cfg / "linked").symlink_to(outside)
    (api.cfg / "bundles" / "inner").mkdir()
    (api.cfg / "bundles" / "inner" / "script.sh").write_text("true")
    (api.cfg / "bundles" / "inner" / "data").symlink_to(outside / "airflow.cfg")
    for bundle in ("file.zip", "cfg.zip", "folder", "linked", "linked/whole.zip", "inner", "bundles/inner"):
        thief(api, bundle)
        answer = api.client("admin").get(JOB)
        assert answer.status_code in (403, 422), bundle
        assert MARKER not in answer.text


def test_only_real_bundles_are_served(api: Api) -> None:
    bundles = api.cfg / "bundles"
    bundles.mkdir()
    (bundles / "text.zip").write_text(f"PK {MARKER}")
    (bundles / "other.zip").write_bytes(zipped(notes=MARKER))
    (bundles / "both.zip").write_bytes(MARKER.encode() + zipped(script__sh="true"))
    (bundles / "cut.zip").write_bytes(zipped(script__sh=MARKER)[:-30])
    os.mkfifo(bundles / "pipe.zip")
    (bundles / "tree").mkdir()
    (bundles / "tree" / "script.sh").write_text("true")
    os.mkfifo(bundles / "tree" / "pipe")
    (api.cfg / ".uploads").mkdir()
    (api.cfg / ".uploads" / "staged.zip").write_bytes(zipped(script__sh=MARKER))
    for bundle in ("text.zip", "other.zip", "both.zip", "cut.zip", "pipe.zip", "tree", ".uploads/staged.zip", "."):
        thief(api, bundle)
        answer = api.client("admin").get(JOB)
        assert answer.status_code in (403, 404, 422), bundle
        assert MARKER not in answer.text


def test_a_folder_of_workflow_files_that_is_a_link_serves(api: Api, tmp_path: Path) -> None:
    api.cfg.rename(tmp_path / "checkout")
    api.cfg.symlink_to(tmp_path / "checkout")
    (api.cfg / "team").mkdir()
    (api.cfg / "team" / "a.zip").write_bytes(zipped(script__sh="true"))
    (api.cfg / "b.zip").symlink_to("team/a.zip")
    for bundle in ("team/a.zip", "b.zip", (api.cfg / "team/a.zip").as_uri()):
        thief(api, bundle)
        assert api.client("admin").get(JOB).status_code == 200, bundle


def test_a_file_of_a_result_store_is_no_link(api: Api, outside: Path, tmp_path: Path) -> None:
    from batchy_provider.bundles.execution_id import ExecutionId
    from batchy_provider.bundles.result_store import ResultStore

    store = ResultStore(str(tmp_path / "results"))
    with store.draft(ExecutionId(workflow="sales", batch_id="7", job="load", attempt="1"), tmp_path) as draft:
        (draft.folder / "stdout").write_text("x" * len(MARKER))
        (draft.folder / "stderr").write_bytes(b"")
        kept = draft.commit({"state": "success", "exit_code": 0, "started": "a", "finished": "b", "bundle": None})
    (kept.path / "stdout").unlink()
    (kept.path / "stdout").symlink_to(outside / "airflow.cfg")
    answer = api.client("admin").get("/api/v1/workflows/sales/batches/7/jobs/load/attempts/1/stdout")
    assert MARKER not in answer.text
    assert answer.status_code == 404


def test_a_folder_that_becomes_a_link_meanwhile_is_not_followed(tmp_path: Path, outside: Path) -> None:
    top = tmp_path / "top"
    (top / "a").mkdir(parents=True)
    (top / "a" / "airflow.cfg").write_text("ours")
    (tmp_path / "link").symlink_to(outside)
    done = threading.Event()

    def exchange() -> None:
        while not done.is_set():
            (top / "a").rename(tmp_path / "aside")
            (tmp_path / "link").rename(top / "a")
            (top / "a").rename(tmp_path / "link")
            (tmp_path / "aside").rename(top / "a")

    thread = threading.Thread(target=exchange)
    thread.start()
    found = set()
    try:
        for _ in range(2000):
            try:
                name = path_below(top, top / "a" / "airflow.cfg")
                if name is not None:
                    with open_below(top, name) as descriptor:
                        found.add(os.read(descriptor, 100))
            except OSError:
                continue
    finally:
        done.set()
        thread.join()
        shutil.rmtree(top, ignore_errors=True)
    assert found <= {b"ours"}


@given(
    st.sampled_from(["file", "FILE", "local", "LoCal"]),
    st.sampled_from([":", ":/", "://", ":///", "://host/"]),
    st.text(),
)
def test_each_spelling_of_a_local_url_is_refused(scheme: str, slashes: str, rest: str) -> None:
    place = as_local_path(scheme + slashes + rest)
    assert place is not None
