# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""docs/yaml.md says what the models say."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from batchy_provider.config.base_model import FileModel
from batchy_provider.config.document import parse
from batchy_provider.config.model import WorkflowModel
from batchy_provider.config.reference import renew

PAGE = (Path(__file__).parents[3] / "docs" / "yaml.md").read_text()


def models_below(parent: type[FileModel]) -> Iterator[type[FileModel]]:
    for each in parent.__subclasses__():
        yield each
        yield from models_below(each)


def test_its_tables_are_the_models():
    assert renew(PAGE) == PAGE, "renew it: python -m batchy_provider.config.reference docs/yaml.md"


def test_every_key_is_described():
    models = list(models_below(FileModel))
    assert len(models) >= 13
    for each in models:
        for name, field in each.model_fields.items():
            assert field.description, f"{each.__name__}.{name}"
            key = field.alias or name
            assert f"`{key}" in PAGE or f"{{{key}:" in PAGE, f"{each.__name__}.{name}"


def test_its_first_example_is_valid():
    example = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)[0]
    WorkflowModel.model_validate(parse(example).data)
