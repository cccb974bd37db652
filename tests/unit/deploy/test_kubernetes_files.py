# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""
What can be told of deploy/kubernetes without a cluster: that its parts fit one another, this package and Airflow.

Whether a key exists in the chart cannot be told here: ``LOOKED_UP`` are those that were looked up in the chart's own
schema, release notes and tests, with their types. Who uses another one looks it up and adds it.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from airflow.configuration import conf
from airflow.providers_manager import ProvidersManager

from batchy_provider.get_provider_info import get_provider_info

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / "deploy" / "kubernetes"
EXECUTORS = ("celery", "kubernetes")
STACKS = {
    **{name: ("values.yaml", f"values-{name}.yaml") for name in EXECUTORS},
    **{f"{name} with git-sync": ("values.yaml", f"values-{name}.yaml", "values-git-sync.yaml") for name in EXECUTORS},
}
WORKER = {
    "terminationGracePeriodSeconds": int,
    "resources": dict,
    "extraVolumes": list,
    "extraVolumeMounts": list,
}
LOOKED_UP: dict[str, type] = {
    "airflowVersion": str,
    "images.airflow.repository": str,
    "images.airflow.tag": str,
    "images.airflow.pullPolicy": str,
    "postgresql.enabled": bool,
    "redis.enabled": bool,
    "data.metadataSecretName": str,
    "data.brokerUrlSecretName": str,
    "fernetKeySecretName": str,
    "apiSecretKeySecretName": str,
    "jwtSecretName": str,
    "secret": list,
    "executor": str,
    "logs.persistence.enabled": bool,
    "networkPolicies.enabled": bool,
    "triggerer.replicas": int,
    "triggerer.persistence.enabled": bool,
    "triggerer.resources": dict,
    "scheduler.replicas": int,
    "scheduler.resources": dict,
    "dagProcessor.resources": dict,
    "apiServer.replicas": int,
    "apiServer.resources": dict,
    "workers.celery.replicas": int,
    "workers.celery.persistence.enabled": bool,
    **{f"workers.celery.{key}": kind for key, kind in WORKER.items()},
    **{f"workers.kubernetes.{key}": kind for key, kind in WORKER.items()},
    "workers.kubernetes.safeToEvict": bool,
    "dags.persistence.enabled": bool,
    **{f"dags.gitSync.{key}": str for key in ("repo", "branch", "rev", "ref", "subPath", "credentialsSecret")},
    "dags.gitSync.enabled": bool,
    "dags.gitSync.depth": int,
}
# Of a provider that is in the official image and not among this project's packages.
KUBERNETES_EXECUTOR = {"delete_worker_pods", "delete_worker_pods_on_failure"}
UNITS = {"Mi": 1, "Gi": 1024}


def read(name: str) -> dict[str, Any]:
    values: dict[str, Any] = yaml.safe_load((FOLDER / name).read_text())
    return values


def merged(names: tuple[str, ...]) -> dict[str, Any]:
    """What Helm makes of several files: mappings are merged, anything else is replaced."""

    def merge(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
        both = below.keys() & above.keys()
        deeper = {key: merge(below[key], above[key]) for key in both if isinstance(below[key], dict)}
        return {**below, **above, **deeper}

    values: dict[str, Any] = {}
    for name in names:
        values = merge(values, read(name))
    return values


@pytest.fixture(params=STACKS)
def values(request: pytest.FixtureRequest) -> dict[str, Any]:
    return merged(STACKS[request.param])


@pytest.fixture(params=EXECUTORS)
def both(request: pytest.FixtureRequest) -> tuple[dict[str, Any], dict[str, Any]]:
    """All values of an executor, and those of its workers."""
    found = merged(STACKS[request.param])
    return found, found["workers"][request.param]


def leaves(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Path → value, as deep as the keys that were looked up go."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        path = f"{prefix}{key}"
        if path == "config":
            continue
        if isinstance(value, dict) and path not in LOOKED_UP:
            found |= leaves(value, f"{path}.")
        else:
            found[path] = value
    return found


def mebibytes(text: str) -> int:
    match = re.fullmatch(r"(\d+)(Mi|Gi)", text)
    assert match is not None, text
    return int(match[1]) * UNITS[match[2]]


def pinned(package: str) -> str:
    found = re.search(rf"(?m)^{package}==(.+)$", (ROOT / "constraints.txt").read_text())
    assert found is not None
    return found[1]


def test_every_key_was_looked_up_in_the_chart_and_has_its_type(values: dict[str, Any]) -> None:
    found = leaves(values)
    assert found.keys() - LOOKED_UP.keys() == set()
    assert {path for path, value in found.items() if type(value) is not LOOKED_UP[path]} == set()


def test_every_option_is_one_that_airflow_or_this_package_knows(values: dict[str, Any]) -> None:
    ProvidersManager().initialize_providers_configuration()  # Airflow 3.1 does so when one of its programs starts
    ours = get_provider_info()["config"]["batchy"]["options"]
    for section, options in values["config"].items():
        for option, value in options.items():
            assert isinstance(value, (str, int)), "the chart writes it into airflow.cfg as it is"
            if section == "batchy":
                assert option in ours
            elif section == "kubernetes_executor":
                assert option in KUBERNETES_EXECUTOR
            else:
                known = conf.configuration_description.get(section, {}).get("options", {})
                assert option in known, f"[{section}] {option}"


def test_numbers_and_switches_of_this_package_are_ones(values: dict[str, Any]) -> None:
    options = get_provider_info()["config"]["batchy"]["options"]
    readers = {"integer": int, "float": float, "string": str}
    for option, value in values["config"]["batchy"].items():
        readers[options[option]["type"]](value)


def test_the_version_is_the_one_that_this_package_is_tested_with(values: dict[str, Any]) -> None:
    version = pinned("apache-airflow")
    assert values["airflowVersion"] == version
    assert values["images"]["airflow"]["tag"].startswith(f"{version}-")
    assert f"ARG AIRFLOW_VERSION={version}\n" in (FOLDER / "Dockerfile").read_text()


def test_each_connection_that_is_named_comes_from_a_secret(values: dict[str, Any]) -> None:
    given = {entry["envName"] for entry in values["secret"]}
    assert all({"envName", "secretName", "secretKey"} == set(entry) for entry in values["secret"])
    config = values["config"]
    wanted = {config["logging"]["remote_log_conn_id"], config["batchy"].get("redis_conn_id", "redis_default")}
    named = re.match(r"s3://(\w+)@", config["batchy"]["results_url"])
    assert named is not None, "results must be where every pod reaches them"
    assert given == {f"AIRFLOW_CONN_{conn_id.upper()}" for conn_id in (*wanted, named[1])}


def test_no_password_stands_in_a_file() -> None:
    for path in FOLDER.iterdir():
        assert not re.search(r"://[^@\s/]*:(?!PASSWORD)[^@\s/]+@", path.read_text()), path


def test_scripts_have_their_grace_before_the_pod_is_gone(both: tuple[dict[str, Any], dict[str, Any]]) -> None:
    values, workers = both
    grace = float(values["config"]["batchy"]["kill_grace_seconds"])
    assert workers["terminationGracePeriodSeconds"] >= 4 * grace


def test_the_cache_is_on_a_disk_that_is_large_enough_and_goes_with_the_pod(
    both: tuple[dict[str, Any], dict[str, Any]],
) -> None:
    values, workers = both
    (volume,), (mount,) = workers["extraVolumes"], workers["extraVolumeMounts"]
    assert mount == {"name": volume["name"], "mountPath": values["config"]["batchy"]["bundle_cache"]}
    room = mebibytes(volume["emptyDir"]["sizeLimit"])
    assert 2 * int(values["config"]["batchy"]["bundle_cache_mb"]) <= room
    assert room < mebibytes(workers["resources"]["limits"]["ephemeral-storage"])


def test_with_celery_no_job_is_given_to_a_second_worker_while_the_first_may_run_on() -> None:
    values = merged(STACKS["celery"])
    visible = int(values["config"]["celery_broker_transport_options"]["visibility_timeout"])
    assert visible > values["workers"]["celery"]["terminationGracePeriodSeconds"]


def test_git_sync_brings_the_workflows_beside_the_dags() -> None:
    values = merged(STACKS["celery with git-sync"])
    assert values["config"]["batchy"]["cfg_folder"] == "/opt/airflow/dags/repo/cfg"
    assert (ROOT / values["dags"]["gitSync"]["subPath"] / "batchy_dags.py").exists()


def test_the_image_is_built_from_files_that_are_there_and_by_no_root() -> None:
    text = (FOLDER / "Dockerfile").read_text()
    logical = re.sub(r"\\\n", " ", text).splitlines()
    steps = [line.split(None, 1) for line in logical if line.strip() and not line.startswith("#")]
    assert {name for name, _ in steps} <= {"ARG", "FROM", "COPY", "RUN"}
    (base,) = [rest for name, rest in steps if name == "FROM"]
    assert base == "apache/airflow:${AIRFLOW_VERSION}-python${PYTHON_VERSION}"
    for rest in (rest for name, rest in steps if name == "COPY"):
        owner, source, target = rest.split()
        assert owner == "--chown=airflow:0"
        assert target.startswith("/")
        assert source == "dist/airflow_provider_batchy-*.whl" or (ROOT / source).is_dir()
    (install,) = [rest for name, rest in steps if name == "RUN" and rest.startswith("pip")]
    assert "--constraint" in install
    assert '"apache-airflow==${AIRFLOW_VERSION}"' in install, "or pip may move Airflow itself"


def test_the_wheel_has_the_name_that_the_image_takes(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
    assert len(list(tmp_path.glob("airflow_provider_batchy-*.whl"))) == 1


def test_the_check_of_the_image_passes_on_the_examples() -> None:
    (check,) = re.findall(r"(?m)^RUN (batchy .*)$", (FOLDER / "Dockerfile").read_text())
    arguments = check.replace("/opt/airflow/cfg", str(ROOT / "cfg")).split()[1:]
    command = [sys.executable, "-m", "batchy_provider.cli.main", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_policies_name_the_pods_as_the_chart_does() -> None:
    policies = list(yaml.safe_load_all((FOLDER / "network-policy.yaml").read_text()))
    assert [policy["kind"] for policy in policies] == ["NetworkPolicy"] * 2
    assert policies[0]["spec"]["podSelector"]["matchLabels"] == {"component": "worker"}
    ports = {port["port"] for rule in policies[0]["spec"]["egress"] for port in rule["ports"]}
    assert {53, 8080, 6379, 443} <= ports


def test_the_policies_are_valid_for_kubernetes() -> None:
    for policy in yaml.safe_load_all((FOLDER / "network-policy.yaml").read_text()):
        kubernetes_validate.validate(json.loads(json.dumps(policy)), "1.33", strict=True)
