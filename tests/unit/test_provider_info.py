# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""What Airflow is told about the package is valid, complete and true."""

from __future__ import annotations

import importlib
import json
import os
import pkgutil
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, get_origin

import jsonschema
import pytest
from airflow_versions import has_connection_fields

import batchy_provider
from batchy_provider.get_provider_info import get_provider_info

PACKAGE = Path(batchy_provider.__file__).parent
INFO = get_provider_info()


def _modules(package: str) -> set[str]:
    folder = PACKAGE / package
    return {f"batchy_provider.{package}.{module.name}" for module in pkgutil.iter_modules([str(folder)])}


def _listed(kind: str) -> set[str]:
    return {name for entry in INFO[kind] for name in entry["python-modules"]}


def _classes_of(modules: set[str], base: type) -> set[type]:
    found = set()
    for name in modules:
        module = importlib.import_module(name)
        found |= {
            thing
            for thing in vars(module).values()
            # On Python 3.10 `list[int]` calls itself a type.
            if isinstance(thing, type) and get_origin(thing) is None and issubclass(thing, base)
            if thing.__module__ == name
        }
    return found


def test_it_is_valid_by_airflows_schema() -> None:
    import airflow

    schema = json.loads((Path(airflow.__path__[0]) / "provider_info.schema.json").read_text())
    jsonschema.validate(INFO, schema)


def test_every_operator_sensor_trigger_and_hook_is_listed() -> None:
    from airflow.sdk import BaseHook, BaseOperator, BaseSensorOperator
    from airflow.triggers.base import BaseTrigger

    kinds = {"operators": BaseOperator, "sensors": BaseSensorOperator, "triggers": BaseTrigger, "hooks": BaseHook}
    for kind, base in kinds.items():
        found = _classes_of(_modules(kind), base)
        # A base class of ours is for the other classes only: users import what is made of it.
        with_one = {each.__module__ for each in found if not any(each in other.__mro__[1:] for other in found)}
        assert _listed(kind) == with_one, kind


def test_every_extra_link_is_listed() -> None:
    from airflow.sdk import BaseOperator, BaseOperatorLink

    links = {f"{link.__module__}.{link.__qualname__}" for link in _classes_of(_modules("links"), BaseOperatorLink)}
    assert set(INFO["extra-links"]) == links
    used = {
        f"{type(link).__module__}.{type(link).__qualname__}"
        for operator in _classes_of(_listed("operators") | _listed("sensors"), BaseOperator)
        for link in operator.operator_extra_links
    }
    assert links <= used


def test_the_connection_form_has_what_the_hook_reads() -> None:
    from batchy_provider.hooks import batchy as hook

    (connection,) = INFO["connection-types"]
    assert connection["connection-type"] == hook.BatchyHook.conn_type
    assert connection["hook-name"] == hook.BatchyHook.hook_name
    source = Path(hook.__file__).read_text()
    for field in connection["conn-fields"]:
        assert f'"{field}"' in source, f"the hook never reads {field}"


def test_every_option_is_read_somewhere_and_every_one_read_is_listed() -> None:
    read: set[str] = set()
    for file in PACKAGE.rglob("*.py"):
        if file.name != "get_provider_info.py":
            text = file.read_text()
            read |= set(re.findall(r'conf\.get\w*\(\s*"batchy",\s*"(\w+)"', text))
            read |= set(re.findall(r'_option\("(\w+)",', text))
    assert set(INFO["config"]["batchy"]["options"]) == read


@pytest.mark.parametrize("name", INFO["config"]["batchy"]["options"])
def test_an_option_has_a_description_an_example_and_the_default_of_the_code(name: str) -> None:
    option: dict[str, Any] = INFO["config"]["batchy"]["options"][name]
    assert option["version_added"]
    assert option["example"]
    assert len(option["description"]) > 30
    text = "".join(file.read_text() for file in PACKAGE.rglob("*.py") if file.name != "get_provider_info.py")
    fallback = re.search(rf'conf\.get\w*\(\s*"batchy",\s*"{name}",\s*fallback=([^)]+)\)', text)
    if fallback and option["type"] == "float":
        word = fallback[1]
        if not re.fullmatch(r"[\d.]+", word):
            values = set(re.findall(rf"^{word}(?:: float)? = ([\d.]+)$", text, re.MULTILINE))
            assert option["default"] in {value.removesuffix(".0") for value in values}
        else:
            assert float(option["default"]) == float(word)


@pytest.mark.slow
def test_airflow_shows_it() -> None:
    command = [sys.executable, "-m", "airflow", "providers", "get", "airflow-provider-batchy", "--full", "-o", "json"]
    shown = subprocess.run(command, capture_output=True, text=True, check=False, env=dict(os.environ), timeout=120)
    assert shown.returncode == 0, shown.stderr
    assert "batchy_provider.hooks.batchy" in shown.stdout
    # On Airflow 3.1 its own compatibility layer warns of a place that it tries.
    warned = [line for line in shown.stderr.splitlines() if "Warning" in line and "`airflow.operators." not in line]
    assert warned == []


def test_airflow_takes_the_options_defaults_from_it() -> None:
    from airflow.configuration import conf
    from airflow.providers_manager import ProvidersManager

    ProvidersManager().initialize_providers_configuration()  # Airflow 3.1 does so when one of its programs starts
    assert conf.get("batchy", "redis_conn_id") == "redis_default"
    assert conf.getfloat("batchy", "recheck_seconds") == 60
    assert conf.get("batchy", "cfg_folder", fallback=None) is None


@pytest.mark.slow
@pytest.mark.skipif(not has_connection_fields(), reason="Airflow 3.1 has fields of connections with FAB alone")
def test_airflow_knows_the_connection_type_and_its_fields() -> None:
    from airflow.providers_manager import ProvidersManager

    widgets = ProvidersManager().connection_form_widgets
    assert widgets["extra__batchy__sentinel_service"].hook_class_name == "batchy_provider.hooks.batchy.BatchyHook"


def test_the_info_imports_nothing() -> None:
    program = (
        "import sys; before = set(sys.modules); from batchy_provider.get_provider_info import get_provider_info;"
        "get_provider_info(); new = {name.split('.')[0] for name in set(sys.modules) - before};"
        "print(new - set(sys.stdlib_module_names))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "{'batchy_provider'}"
