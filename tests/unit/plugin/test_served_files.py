# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Downloads, complete and in parts, and uploads, over REST."""

from __future__ import annotations

import hashlib
import io
import zipfile
from pathlib import Path

import pytest
from api_server import SALES, Api

from batchy_provider.bundles.execution_id import ExecutionId
from batchy_provider.plugin import airflow_services

EVIL = b"<script>alert(1)</script>\n" * 1000
BASE = "/api/v1/workflows/sales/batches/7/jobs/load/attempts/1"


@pytest.fixture
def execution(api: Api, tmp_path: Path) -> bytes:
    """Store an execution, and return its stdout."""
    store = airflow_services.get_services().results
    (tmp_path / "scratch").mkdir()
    identity = ExecutionId(workflow="sales", batch_id="7", job="load", attempt="1")
    with store.draft(identity, tmp_path / "scratch") as draft:
        (draft.folder / "stdout").write_bytes(EVIL)
        (draft.folder / "stderr").write_bytes(b"")
        (draft.folder / "files").mkdir()
        (draft.folder / "files" / "page.html").write_bytes(EVIL)
        draft.commit({"state": "success", "exit_code": 0, "started": "a", "finished": "b", "bundle": None})
    return EVIL


def zipped(**files: str) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, text in files.items():
            archive.writestr(name.replace("__", "."), text)
    return out.getvalue()


def test_executions_are_listed_and_shown(api: Api, execution: bytes) -> None:
    (found,) = api.client().get("/api/v1/workflows/sales/executions").json()["items"]
    assert (found["job"], found["batch_id"], found["state"], found["exit_code"]) == ("load", "7", "success", 0)
    assert found["contents"]["stdout"]["bytes"] == len(execution)
    assert api.client().get(BASE).json() == found
    assert api.client().get("/api/v1/workflows/sales/executions?batch_id=8").json()["items"] == []
    later = api.client().get("/api/v1/workflows/sales/executions?offset=1").json()
    assert (later["items"], later["total"]) == ([], 1)
    assert api.client().get(BASE.replace("load", "extract")).status_code == 404


def test_a_damaged_record_is_not_a_missing_one(api: Api, execution: bytes) -> None:
    stored = airflow_services.get_services().results.find("sales")[0]
    (stored.path / "exit.json").write_text("{")
    (listed,) = api.client().get("/api/v1/workflows/sales/executions").json()["items"]
    assert (listed["job"], listed["state"]) == ("load", None)
    answer = api.client().get(BASE)
    assert answer.status_code == 500
    assert "exit.json cannot be read" in answer.json()["detail"]


def test_a_workflow_with_the_name_of_a_store_folder_has_its_own_folder(api: Api, execution: bytes) -> None:
    answer = api.client().get("/api/v1/workflows/.drafts/executions")
    assert (answer.status_code, answer.json()["items"]) == (200, [])


def test_a_file_is_complete_and_never_shown_as_a_page(api: Api, execution: bytes) -> None:
    for name in ("stdout", "output", "files/page.html"):
        answer = api.client().get(f"{BASE}/{name}")
        assert (answer.status_code, answer.content) == (200, execution)
        assert "html" not in answer.headers["content-type"]
        assert int(answer.headers["content-length"]) == len(execution), "not compressed: parts could not be told"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["etag"] == f'"{hashlib.sha256(execution).hexdigest()}"'
    assert api.client().get(f"{BASE}/stderr").content == b""


@pytest.mark.parametrize(
    ("asked", "status", "start", "end"),
    [
        ("bytes=0-9", 206, 0, 10),
        ("bytes=10-", 206, 10, None),
        ("bytes=-5", 206, -5, None),
        ("bytes=0-999999999", 200, 0, None),
        ("bytes=5-5", 206, 5, 6),
        ("bytes=0-1,5-6", 200, 0, None),
        ("lines=1-2", 200, 0, None),
        ("bytes=-", 200, 0, None),
        ("bytes=999999999-", 416, 0, 0),
        ("bytes=9-3", 416, 0, 0),
        ("bytes=-0", 416, 0, 0),
    ],
)
def test_parts_of_a_file(api: Api, execution: bytes, asked: str, status: int, start: int, end: int | None) -> None:
    answer = api.client().get(f"{BASE}/stdout", headers={"Range": asked})
    assert (answer.status_code, answer.content) == (status, execution[start:end])
    if status == 206:
        first = start % len(execution)
        last = (len(execution) if end is None else end) - 1
        assert answer.headers["content-range"] == f"bytes {first}-{last}/{len(execution)}"
        head = api.client().head(f"{BASE}/stdout", headers={"Range": asked})
        assert (head.status_code, head.content) == (206, b"")
        assert head.headers["content-length"] == str(len(answer.content))


def test_a_cached_file_is_not_sent_again_and_a_changed_one_is_sent_completely(api: Api, execution: bytes) -> None:
    etag = api.client().head(f"{BASE}/stdout").headers["etag"]
    assert api.client().get(f"{BASE}/stdout", headers={"If-None-Match": etag}).status_code == 304
    ranged = {"Range": "bytes=0-9", "If-Range": '"other"'}
    assert api.client().get(f"{BASE}/stdout", headers=ranged).status_code == 200
    assert api.client().get(f"{BASE}/stdout", headers={**ranged, "If-Range": etag}).status_code == 206


@pytest.mark.parametrize(
    "name", ["exit.json", "files/..%2f..%2fexit.json", "%2fetc%2fpasswd", "files/%00", "files/" + "x" * 5000]
)
def test_no_name_reads_another_file(api: Api, execution: bytes, name: str) -> None:
    assert api.client().get(f"{BASE}/{name}").status_code in (404, 422)


def test_the_log_is_in_airflows_api(api: Api) -> None:
    from batchy_provider.core.values import Holder, OpenRequest, WorkflowConfig

    store = airflow_services.get_services().store
    config = WorkflowConfig(name="sales", jobs={"load": {}})
    batch = store.open("sales", OpenRequest(holder=Holder(dag_id="sales", run_id="manual__1:2+00"), config=config))
    path = f"/api/v1/workflows/sales/batches/{batch.batch_id}/jobs/load/attempts/1/log"
    answer = api.client().get(path, follow_redirects=False)
    assert answer.status_code == 307
    assert answer.headers["location"] == (
        "/api/v2/dags/sales/dagRuns/manual__1%3A2%2B00/taskInstances/load/logs/1?full_content=true"
    )
    assert api.client().get(path.replace(str(batch.batch_id), "1")).status_code == 404


def test_bundles_are_downloaded_as_they_are_and_folders_packed(api: Api) -> None:
    data = zipped(script__sh="echo zip")
    (api.cfg / "bundles" / "folder").mkdir(parents=True)
    (api.cfg / "bundles" / "folder" / "script.sh").write_text("echo folder")
    (api.cfg / "bundles" / "whole.zip").write_bytes(data)
    jobs = "jobs:\n  a: {bundle: whole.zip}\n  b: {bundle: folder}\n  c: {bash: 'true'}\n"
    (api.cfg / "mixed.yaml").write_text(jobs)
    path = "/api/v1/workflows/mixed/jobs/{}/bundle"
    assert api.client().get(path.format("a")).content == data
    folder = api.client().get(path.format("b"))
    assert folder.content == api.client().get(path.format("b")).content
    assert zipfile.ZipFile(io.BytesIO(folder.content)).read("script.sh") == b"echo folder"
    assert api.client().get(path.format("c")).status_code == 422
    assert api.client().get(path.format("d")).status_code == 404


@pytest.fixture
def allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__BATCHY__ALLOW_UPLOAD", "True")


def test_uploads_are_off_by_default(api: Api) -> None:
    answer = api.client().post("/api/v1/uploads", files={"config": ("a.yaml", b"jobs: {}")})
    assert answer.status_code == 403
    assert "allow_upload" in answer.json()["detail"]


@pytest.mark.usefixtures("allowed")
class TestUploads:
    def test_all_files_are_stored(self, api: Api) -> None:
        files = [
            ("config", ("crm.yaml", b"jobs: {a: {bundle: a.zip}}\n")),
            ("bundle", ("a.zip", zipped(script__sh="true"))),
        ]
        checked = api.client().post("/api/v1/uploads/check", files=files)
        assert (checked.status_code, checked.json()["workflows"]) == (200, ["crm"])
        assert not (api.cfg / "crm.yaml").exists()
        stored = api.client().post("/api/v1/uploads", files=files, data={"why": "new"})
        assert stored.status_code == 201, stored.text
        assert (api.cfg / "bundles" / "a.zip").exists()
        assert api.client().post("/api/v1/uploads", files=files).status_code == 409
        assert api.client().get("/api/v1/workflows/crm").json()["summary"]["jobs"] == ["a"]

    def test_errors_have_lines(self, api: Api) -> None:
        config = b"jobs:\n  a: {bash: 'true'}\n  b: {bsh: x}\n"
        answer = api.client().post("/api/v1/uploads", files={"config": ("crm.yaml", config)})
        assert answer.status_code == 422
        assert {(fault["file"], fault["line"]) for fault in answer.json()["errors"]} == {("crm.yaml", 3)}

    def test_an_upload_needs_its_own_permission(self, api: Api) -> None:
        files = {"config": ("crm.yaml", SALES.encode())}
        for role in ("user", "viewer"):
            answer = api.client(role).post("/api/v1/uploads", files=files)
            assert (answer.status_code, "configuration" in answer.json()["detail"]) == (403, True)

    def test_limits(self, api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AIRFLOW__BATCHY__UPLOAD_MAX_MB", "1")
        big = b"#" * (1024 * 1024) + b"\n" + SALES.encode()
        over = api.client().post("/api/v1/uploads", files={"config": ("crm.yaml", big)})
        assert (over.status_code, "1,048,576" in over.json()["detail"]) == (413, True)
        chunked = api.client().post(
            "/api/v1/uploads", content=iter([b"x"]), headers={"Content-Type": "multipart/form-data; boundary=x"}
        )
        assert chunked.status_code == 411
        assert api.client().post("/api/v1/uploads", json={}).status_code == 415
        many = [("config", (f"w{n}.yaml", b"jobs: {a: {bash: 'true'}}\n")) for n in range(101)]
        assert api.client().post("/api/v1/uploads", files=many).status_code in (400, 422)

    @pytest.mark.parametrize(
        "name", ["../../evil.yaml", "/etc/evil.yaml", "evil", "..", "ev\u0131l.yaml", "x" * 5000 + ".yaml"]
    )
    def test_hostile_names(self, api: Api, name: str) -> None:
        answer = api.client().post("/api/v1/uploads", files={"config": (name, b"jobs: {a: {bash: 'true'}}\n")})
        assert answer.status_code in (400, 422)
        assert [path.name for path in api.cfg.glob("**/*.yaml")] == ["sales.yaml"]

    def test_after_an_existing_job(self, api: Api) -> None:
        answer = api.client().post(
            "/api/v1/uploads",
            files={"bundle": ("audit.zip", zipped(script__sh="cat"))},
            data={"after_workflow": "sales", "after_job": "load", "input": "true"},
        )
        assert answer.status_code == 201, answer.text
        assert "audit" in api.client().get("/api/v1/workflows/sales").json()["source"]

    def test_an_unknown_field_is_an_error(self, api: Api) -> None:
        files = {"config": ("crm.yaml", SALES.encode())}
        answer = api.client().post("/api/v1/uploads", files=files, data={"overwrite": "true"})
        assert (answer.status_code, "'overwrite'" in answer.json()["detail"]) == (422, True)
