# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The Python API for programs without Airflow: its documented examples run, and its import costs nothing."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import batchy_provider.state as api
from batchy_provider.exceptions import ConfigError

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "python.md"
DOCUMENTED_URL = "redis://localhost:6379/0"


def page_example() -> str:
    section = PAGE.read_text().partition("## Without Airflow")[2].partition("\n## ")[0]
    return "\n".join(re.findall(r"```python\n(.*?)```", section, re.DOTALL))


def docstring_example() -> str:
    lines = (api.__doc__ or "").partition("::\n\n")[2].splitlines()
    return "\n".join(line.removeprefix("    ") for line in lines)


@pytest.mark.parametrize("example", [page_example(), docstring_example()], ids=["page", "docstring"])
def test_the_documented_example_runs(
    example: str, redis_url: str, redis_client: object, capsys: pytest.CaptureFixture[str]
) -> None:
    assert example.count(DOCUMENTED_URL) == 1
    exec(compile(example.replace(DOCUMENTED_URL, redis_url), "example", "exec"), {})
    store = api.connect(redis_url)
    assert store.status("sales").holder is None
    (batch,) = store.history("sales")
    assert (batch.status, sorted(batch.jobs)) == ("success", ["extract", "load"])
    said = capsys.readouterr().out
    if "store.check" in example:
        number, *_ = said.split()
        assert int(number) == batch.batch_id
        assert said.splitlines()[1:] == [
            "nightly.py on host-1",
            f"done sales: batch {batch.batch_id} succeeded at {batch.batch_end} UTC",
            f"{batch.batch_id} success {batch.from_date} {batch.to_date}",
        ]


def test_every_public_name_can_be_imported() -> None:
    assert sorted(api.__all__) == api.__all__
    for name in api.__all__:
        assert getattr(api, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'Keys'"):
        # To ask for the name is the test.
        api.Keys  # noqa: B018


def test_an_import_loads_neither_redis_nor_airflow_nor_any_private_module() -> None:
    code = (
        "import sys; before = set(sys.modules); import batchy_provider.state; "
        "print(sorted(m for m in set(sys.modules) - before "
        "if m.startswith(('redis', 'airflow', 'batchy_provider.'))))"
    )
    said = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert said.strip() == "['batchy_provider.state']"


def test_connect_honours_the_replicas_of_the_url() -> None:
    with pytest.raises(ConfigError, match="wait_replicas_ms is 0"):
        api.connect("redis://localhost:1/0?wait_replicas=1&wait_replicas_ms=0")
