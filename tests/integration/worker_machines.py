# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Look at workers that share no disk from outside: their bucket, their logs, and a command line of nobody."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import boto3
from nights import Nights

from batchy_provider.core.values import Batch
from batchy_provider.local.topology import BUCKET


def s3(many: Nights) -> Any:
    """A client of the S3 server that is nobody's of the stack."""
    endpoint = many.stack.s3_endpoint
    keys = {"aws_access_key_id": "x", "aws_secret_access_key": "x", "region_name": "us-east-1"}
    return boto3.client("s3", endpoint_url=endpoint, **keys)


def keys(many: Nights, prefix: str) -> list[str]:
    pages = s3(many).get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix)
    return [each["Key"] for page in pages for each in page.get("Contents", ())]


def upload_bundle(many: Nights, name: str, script: str, folder: Path) -> str:
    """Put a zip on S3; returns the URL that a job names it by."""
    with zipfile.ZipFile(folder / name, "w") as archive:
        archive.writestr("script.sh", script)
    s3(many).upload_file(str(folder / name), BUCKET, f"bundles/{name}")
    return f"s3://aws_default@{BUCKET}/bundles/{name}"


def batchy(many: Nights, *arguments: str, cwd: Path | None = None) -> str:
    """The command line on a machine that is none of the six, with nothing of theirs on its disk."""
    command = [sys.executable, "-m", "batchy_provider.cli.main", *arguments]
    done = subprocess.run(
        command, env=many.stack.environment, capture_output=True, text=True, timeout=120, cwd=cwd, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def printed(many: Nights, batch: Batch, job: str) -> str:
    """What the last attempt of a job has printed, by REST: the command line takes two seconds of a processor."""
    with many.rest() as client:
        here = f"/batchy/api/v1/workflows/{batch.workflow}"
        found = client.get(f"{here}/executions", params={"batch_id": batch.batch_id, "job": job}).raise_for_status()
        attempts = [each["attempt"] for each in found.json()["items"]]
        last = max(attempts, key=lambda attempt: [int(part) for part in attempt.split(".")])
        file = f"{here}/batches/{batch.batch_id}/jobs/{job}/attempts/{last}/stdout"
        return client.get(file).raise_for_status().text


def sources(cache: Path) -> str:
    """What a bundle cache has fetched, as text."""
    return "".join(file.read_text() for file in cache.glob("sources/*.json"))


def ran_on(output: str) -> str:
    """The worker that a script ran on, by its temp folder, which it prints."""
    found = re.search(r"machines/(w\d)/tmp", output)
    assert found is not None, output
    return found[1]
