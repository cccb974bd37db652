# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Build what is published: wheel, sdist, bill of materials (CycloneDX), SHA256SUMS and, with a key, its signature.

It builds everything twice, from two checkouts in two folders. If any byte differs, it writes nothing.
Dates in the archives are that of the commit (SOURCE_DATE_EPOCH).

Usage: python scripts/release.py [DIR] [--key FILE]        see docs/releasing.md
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

from packaging.metadata import Metadata
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
NAMESPACE = "batchy-release"
SUMS = "SHA256SUMS"
VENDORED = re.compile(r"^\| `([^`]+)` \| ([^|,]+)[^|]*\| (?:(\S+) )?([0-9.]+) \| ([^|]+) \| `([0-9a-f]{64})` \|$", re.M)


class ReleaseError(Exception):
    """The release cannot be built."""


def call(*command: str, cwd: Path | None = None, env: dict[str, str] | None = None) -> str:
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ReleaseError(f"{' '.join(command[:4])} …: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def export(commit: str, folder: Path) -> Path:
    """Check a commit out, without git's own files: only what is committed is published."""
    folder.mkdir(parents=True)
    archive = folder.with_suffix(".tar")
    call("git", "archive", "--format=tar", "-o", str(archive), commit, cwd=ROOT)
    shutil.unpack_archive(archive, folder, filter="data")
    return folder


def build(source: Path, into: Path, epoch: str) -> dict[str, str]:
    """Build wheel and sdist; returns file → sha256."""
    env = {**os.environ, "SOURCE_DATE_EPOCH": epoch}
    call(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-t", "sdist", "-d", str(into), cwd=source, env=env)
    return {path.name: digest(path) for path in sorted(into.iterdir()) if path.name[0] != "."}


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def described(wheel: Path) -> Metadata:
    """Return the wheel's metadata, checked as the package index checks them."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return Metadata.from_email(archive.read(name), validate=True)


def needed(package: Metadata) -> Iterator[metadata.Distribution]:
    """Yield what the package needs, and what that needs, as it is installed here by the constraints."""
    waiting = [(requirement, "") for requirement in package.requires_dist or ()]
    seen: set[tuple[str, str]] = set()
    found: dict[str, metadata.Distribution] = {}
    while waiting:
        requirement, extra = waiting.pop()
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": extra}):
            continue
        name = canonicalize_name(requirement.name)
        for wanted in {"", *requirement.extras} - {known for each, known in seen if each == name}:
            seen.add((name, wanted))
            if name not in found:
                found[name] = metadata.distribution(requirement.name)
                yield found[name]
            waiting += [(Requirement(text), wanted) for text in found[name].requires or ()]


def bill_of_materials(wheel: Path, package: Metadata, source: Path, into: Path, epoch: str) -> None:
    """Write what an installation brings: an environment of just that, described, and checked against the schema."""
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    with tempfile.TemporaryDirectory() as name:
        bare = Path(name) / "bare"
        call(sys.executable, "-m", "venv", "--without-pip", str(bare))
        (site,) = bare.glob("lib/python*/site-packages")
        for distribution in needed(package):
            info = Path(str(distribution._path))  # type: ignore[attr-defined]  # no other way tells where it is
            # Without what names this machine: where it was installed from, and how.
            shutil.copytree(info, site / info.name, ignore=shutil.ignore_patterns("direct_url.json", "RECORD"))
        text = call(
            *(sys.executable, "-m", "cyclonedx_py", "environment", str(bare / "bin" / "python")),
            *("--pyproject", str(source / "pyproject.toml"), "--mc-type", "library"),
            *("--output-reproducible", "--short-PURLs", "--spec-version", "1.6", "--no-validate"),
            env={**os.environ, "SOURCE_DATE_EPOCH": epoch},
        )
    bom: dict[str, Any] = json.loads(text)
    root = bom["metadata"]["component"]
    root["version"] = str(package.version)
    root["purl"] = f"pkg:pypi/{package.name}@{package.version}"
    root["hashes"] = [{"alg": "SHA-256", "content": digest(wheel)}]
    vendored = list(_vendored(source))
    bom["components"] += vendored
    for entry in bom["dependencies"]:
        if entry["ref"] == root["bom-ref"]:
            entry["dependsOn"] = sorted({*entry.get("dependsOn", ()), *(each["bom-ref"] for each in vendored)})
    bom["dependencies"] += [{"ref": each["bom-ref"]} for each in vendored]
    text = json.dumps(bom, indent=1, ensure_ascii=False) + "\n"
    error = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    if error is not None:
        raise ReleaseError(f"the bill of materials is not valid CycloneDX: {error}")
    into.write_text(text, encoding="utf-8")


def _vendored(source: Path) -> Iterator[dict[str, Any]]:
    """Yield the libraries of the page, which no package manager knows."""
    folder = source / "batchy_provider" / "plugin" / "static" / "vendor"
    readme = (folder / "README.md").read_text(encoding="utf-8")
    for file, what, name, version, licence, sha256 in VENDORED.findall(readme):
        if digest(folder / file) != sha256:
            raise ReleaseError(f"{file} is not what its README says")
        yield {
            "bom-ref": f"vendored-{file}",
            "type": "library",
            "name": name or what.strip(),
            "version": version,
            "licenses": [{"license": {"id": each.strip()}} for each in licence.split(",")],
            "hashes": [{"alg": "SHA-256", "content": sha256}],
        }


def sign(sums: Path, key: Path) -> None:
    """Sign the checksums with an SSH key; see docs/releasing.md for how a user checks it."""
    call("ssh-keygen", "-q", "-Y", "sign", "-f", str(key), "-n", NAMESPACE, str(sums))


def release(into: Path, *, commit: str = "HEAD", key: Path | None = None) -> list[Path]:
    """Build, compare, describe and sign; returns the files."""
    if into.exists() and any(into.iterdir()):
        raise ReleaseError(f"{into} is not empty; name a new folder")
    epoch = os.environ.get("SOURCE_DATE_EPOCH") or call("git", "log", "-1", "--format=%ct", commit, cwd=ROOT).strip()
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        sources = [export(commit, scratch / place / "source") for place in ("one", "elsewhere")]
        digests = [build(source, source.parent / "out", epoch) for source in sources]
        if digests[0] != digests[1]:
            raise ReleaseError(f"two builds of the same commit differ: {digests[0]} and {digests[1]}")
        out = sources[0].parent / "out"
        (wheel,) = out.glob("*.whl")
        package = described(wheel)
        bill_of_materials(wheel, package, sources[0], out / f"{wheel.name.split('-py3')[0]}.cdx.json", epoch)
        files = sorted(path for path in out.iterdir() if path.name[0] != ".")
        sums = out / SUMS
        sums.write_text("".join(f"{digest(path)}  {path.name}\n" for path in files), encoding="ascii")
        if key is not None:
            sign(sums, key)
        into.mkdir(parents=True, exist_ok=True)
        return [Path(shutil.move(path, into / path.name)) for path in sorted(out.iterdir()) if path.name[0] != "."]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").strip().splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, default=Path("dist"))
    parser.add_argument("--commit", default="HEAD", help="what to build (default: HEAD)")
    parser.add_argument("--key", type=Path, help="SSH private key that signs SHA256SUMS")
    options = parser.parse_args()
    try:
        files = release(options.folder, commit=options.commit, key=options.key)
    except ReleaseError as error:
        print(f"release: {error}", file=sys.stderr)
        return 1
    print("\n".join(str(path) for path in files))
    return 0


if __name__ == "__main__":
    sys.exit(main())
