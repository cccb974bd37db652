# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Base of the models of workflow files, and the types that several of them use."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

MAX_COUNT = 1_000_000
"""More retries, runs or tasks than anyone means. Airflow's database holds 32 bits, and adds to some of them."""

Count = Annotated[int, Field(ge=0, le=MAX_COUNT)]
OneOrMore = Annotated[int, Field(ge=1, le=MAX_COUNT)]
Priority = Annotated[int, Field(ge=-MAX_COUNT, le=MAX_COUNT)]
PoolOrQueue = Annotated[str, Field(max_length=256)]
"""Length of the column in Airflow's database."""
Owner = Annotated[str, Field(max_length=500)]


class FileModel(BaseModel):
    """A mapping in a workflow file: no unknown keys, no conversion of types."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, defer_build=True)


class Notifier(FileModel):
    """Notify people by any Airflow notifier."""

    notifier: str = Field(description="Full Python path of a notifier class.")
    args: dict[str, Any] = Field(default_factory=dict, description="Its arguments; may hold templates.")


_WrittenNotifiers = str | Notifier | list[str | Notifier]


def _notifiers(value: Any) -> Any:
    several = value if isinstance(value, list) else [value]
    return [{"notifier": item} if isinstance(item, str) else item for item in several]


Notifiers = Annotated[list[Notifier], BeforeValidator(_notifiers, json_schema_input_type=_WrittenNotifiers)]
