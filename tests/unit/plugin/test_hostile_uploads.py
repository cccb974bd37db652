# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Hostile uploads: nothing is stored, no module is imported, and each gets a response."""

from __future__ import annotations

import io
import sys
import zipfile
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from api_server import Api

PLAIN = b"jobs: {a: {bash: 'true'}}\n"
BUNDLED = b"jobs: {a: {bundle: a.zip}}\n"


@pytest.fixture(autouse=True)
def _allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__BATCHY__ALLOW_UPLOAD", "True")


def zipped(*entries: tuple[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in entries:
            archive.writestr(name, data)
    return out.getvalue()


def part(name: str, data: bytes, more: str = "", disposition: str = "form-data") -> bytes:
    return f'--x\r\nContent-Disposition: {disposition}; name="{name}"{more}\r\n\r\n'.encode() + data + b"\r\n"


CONFIG = part("config", PLAIN, '; filename="w.yaml"')
FORMS: dict[str, bytes] = {
    "empty": b"",
    "no end": CONFIG,
    "cut in a header": b"--x\r\nContent-Dispos",
    "no name": b"--x\r\nContent-Disposition: form-data\r\n\r\nx\r\n--x--\r\n",
    "no file name": part("config", PLAIN) + b"--x--\r\n",
    "empty file name": part("config", PLAIN, '; filename=""') + b"--x--\r\n",
    "name with NUL": part("config", PLAIN, '; filename="w\0.yaml"') + b"--x--\r\n",
    "name in latin-1": part("config", PLAIN, '; filename="w\xe9.yaml"').decode().encode("latin-1") + b"--x--\r\n",
    "a path of Windows": part("config", PLAIN, '; filename="..\\\\..\\\\w.yaml"') + b"--x--\r\n",
    "twice the same": CONFIG + CONFIG + b"--x--\r\n",
    "a text twice": CONFIG + part("replace", b"false") + part("replace", b"true") + b"--x--\r\n",
    "a thousand fields": CONFIG + b"".join(part("why", b"x") for _ in range(1000)) + b"--x--\r\n",
    "a thousand files": b"".join(part("config", PLAIN, f'; filename="w{n}.yaml"') for n in range(1000)) + b"--x--\r\n",
    "a header without end": b"--x\r\nX: " + b"y" * 200_000 + b"\r\n\r\nx\r\n--x--\r\n",
    "a reason of 2 MB": CONFIG + part("why", b"y" * 2_000_000) + b"--x--\r\n",
    "a reason that is a file": CONFIG + part("why", b"y", '; filename="w"') + b"--x--\r\n",
    "a reason of bytes": CONFIG + part("replace", b"\xff\xfe") + b"--x--\r\n",
    "no form at all": b"\0" * 1000,
}


def stored(api: Api) -> list[str]:
    found = [path.relative_to(api.cfg).as_posix() for path in api.cfg.rglob("*") if path.is_file()]
    return sorted({*found} - {".uploads/lock", "sales.yaml"})


def test_each_odd_form_gets_a_response_and_stores_nothing(api: Api) -> None:
    client = api.client()
    for what, body in FORMS.items():
        headers = {"Content-Type": "multipart/form-data; boundary=x"}
        answer = client.post("/api/v1/uploads", content=body, headers=headers)
        assert 400 <= answer.status_code < 500, (what, answer.status_code)
        assert answer.headers["content-type"] == "application/problem+json", what
        assert stored(api) == [], what
    for kind in (
        "multipart/form-data",
        "multipart/form-data; boundary=",
        "multipart/form-data; charset=nope; boundary=x",
    ):
        answer = client.post("/api/v1/uploads/check", content=FORMS["twice the same"], headers={"Content-Type": kind})
        assert 400 <= answer.status_code < 500, kind
    many = {"Content-Type": "multipart/form-data; boundary=x", "Content-Length": "9" * 5000}
    assert client.post("/api/v1/uploads", content=CONFIG, headers=many).status_code in (400, 411, 413)


def bomb() -> bytes:
    return zipped(("script.sh", b"true"), *((f"f{n}", b"\0" * 50_000_000) for n in range(3)))


def lying(data: bytes) -> bytes:
    """Return the same zip with an index that says that an entry is empty."""
    at = data.rindex(b"PK\x01\x02")
    return data[: at + 24] + b"\0\0\0\0" + data[at + 28 :]


def odd_zips() -> dict[str, bytes]:
    return {
        "no zip": b"#!/bin/bash\ntrue\n",
        "a bomb": bomb(),
        "a size that lies": lying(zipped(("script.sh", b"true" * 100))),
        "a path out": zipped(("script.sh", b"true"), ("../../evil.sh", b"true")),
        "an absolute path": zipped(("script.sh", b"true"), ("/etc/evil", b"true")),
        "no script": zipped(("run.sh", b"true")),
        "cut": zipped(("script.sh", b"true"))[:-10],
        "something before": b"GIF89a" + zipped(("script.sh", b"true")),
        "20,000 entries": zipped(("script.sh", b"true"), *((f"{n}", b"") for n in range(20_000))),
        "gzip": zlib.compress(b"x" * 1000),
    }


def test_no_odd_zip_is_stored(api: Api) -> None:
    client = api.client()
    for what, data in odd_zips().items():
        files = [("config", ("w.yaml", BUNDLED)), ("bundle", ("a.zip", data))]
        answer = client.post("/api/v1/uploads", files=files)
        assert answer.status_code == 422, (what, answer.text)
        assert stored(api) == [], what


def rights(monkeypatch: pytest.MonkeyPatch, *hidden: str, fixed: tuple[str, ...] = ()) -> None:
    """Make Airflow's auth manager hide some DAGs from users, and forbid them to change others."""
    from airflow.api_fastapi.app import get_auth_manager

    kind: Any = type(get_auth_manager())
    real = kind.is_authorized_dag

    def decide(self: Any, *, method: str, user: Any, details: Any = None, **more: Any) -> bool:
        name = details.id if details is not None else None
        if name in hidden or (name in fixed and method != "GET"):
            return False
        return bool(real(self, method=method, user=user, details=details, **more))

    monkeypatch.setattr(kind, "is_authorized_dag", decide)


def test_a_bundle_of_another_team_is_not_replaced(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    client = api.client()
    (api.cfg / "bundles").mkdir()
    theirs = zipped(("script.sh", b"echo theirs"))
    (api.cfg / "bundles" / "a.zip").write_bytes(theirs)
    (api.cfg / "theirs.yaml").write_bytes(BUNDLED)
    (api.cfg / "secret_plan.yaml").write_bytes(BUNDLED)
    files = [("config", ("w.yaml", BUNDLED)), ("bundle", ("a.zip", zipped(("script.sh", b"echo mine"))))]
    rights(monkeypatch, "secret_plan", fixed=("theirs",))
    for path in ("/api/v1/uploads", "/api/v1/uploads/check"):
        answer = client.post(path, files=files, data={"replace": "true"})
        assert answer.status_code == 403
        assert "secret_plan" not in answer.text
    assert (api.cfg / "bundles" / "a.zip").read_bytes() == theirs
    monkeypatch.undo()
    monkeypatch.setenv("AIRFLOW__BATCHY__ALLOW_UPLOAD", "True")


@pytest.mark.slow
def test_the_server_imports_no_module_that_an_upload_names(
    api: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own_evil.py").write_text(
        f"open({str(tmp_path / 'done')!r}, 'a').write(str(__import__('os').getpid()))"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    config = b"jobs:\n  a: {operator: own_evil.Op}\n"
    for path in ("/api/v1/uploads/check", "/api/v1/uploads"):
        answer = api.client().post(path, files={"config": ("w.yaml", config)})
        assert answer.status_code == 422
        (fault,) = answer.json()["errors"]
        assert (fault["file"], fault["line"], "own_evil" in fault["message"]) == ("w.yaml", 2, True)
        assert str(tmp_path) not in answer.text
    assert "own_evil" not in sys.modules
    assert api.client().get("/api/v1/workflows").status_code == 200
    assert stored(api) == []


def test_the_same_upload_at_once_and_again(api: Api) -> None:
    files = [("config", ("w.yaml", BUNDLED)), ("bundle", ("a.zip", zipped(("script.sh", b"true"))))]

    def send(_: int) -> int:
        return int(api.client().post("/api/v1/uploads", files=files).status_code)

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(send, range(4))) == [201, 409, 409, 409]
    again = api.client().post("/api/v1/uploads", files=files, data={"replace": "true"})
    assert (again.status_code, sorted(again.json()["replaced"])) == (201, ["bundles/a.zip", "w.yaml"])
    assert stored(api) == ["bundles/a.zip", "w.yaml"]
