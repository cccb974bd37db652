# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""What people install has all that a checkout has: data files too, which no import misses."""

from __future__ import annotations

import configparser
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from batchy_provider.config.schema import calendars_schema_text, schema_text

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.Path:
    folder = tmp_path_factory.mktemp("wheel")
    # The build backend itself, in half a second: no environment of its own, no index.
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (file,) = folder.glob("*.whl")
    return zipfile.Path(file)


def in_tree(folder: Path) -> dict[str, bytes]:
    """Relative name → bytes of all that belongs to a folder."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def in_wheel(wheel: zipfile.Path, folder: str) -> dict[str, bytes]:
    archive, prefix = wheel.root, f"{folder}/"
    return {
        name.removeprefix(prefix): archive.read(name)
        for name in archive.namelist()
        if name.startswith(prefix) and not name.endswith("/")
    }


def test_the_package_is_there_with_its_data(wheel: zipfile.Path):
    package = in_wheel(wheel, "batchy_provider")
    examples = {name for name in package if name.startswith("examples/cfg/")}
    assert {name: raw for name, raw in package.items() if name not in examples} == in_tree(ROOT / "batchy_provider")
    assert "py.typed" in package


def test_a_build_writes_the_schema_of_the_models(wheel: zipfile.Path):
    package = in_wheel(wheel, "batchy_provider")
    assert package["config/schema.json"].decode() == schema_text()
    assert package["examples/cfg/.schema.json"].decode() == schema_text()
    assert package["examples/cfg/.schema-defaults.json"].decode() == schema_text(defaults=True)
    assert package["examples/cfg/.schema-calendars.json"].decode() == calendars_schema_text()


def test_the_examples_of_the_demo_are_there(wheel: zipfile.Path):
    assert in_wheel(wheel, "batchy_provider/examples/cfg") == in_tree(ROOT / "cfg")


def test_nothing_else_is_installed(wheel: zipfile.Path):
    tops = {name.partition("/")[0] for name in wheel.root.namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"batchy_provider"}


def test_commands_and_what_airflow_looks_for_are_named(wheel: zipfile.Path):
    (info,) = (each for each in wheel.iterdir() if each.name.endswith(".dist-info"))
    points = configparser.ConfigParser()
    points.read_string((info / "entry_points.txt").read_text())
    assert {section: set(points[section]) for section in points.sections()} == {
        "apache_airflow_provider": {"provider_info"},
        "airflow.plugins": {"batchy"},
        "console_scripts": {"batchy", "waitsy"},
    }
    assert (info / "licenses" / "LICENSE").exists()
