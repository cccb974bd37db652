# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The keys of a calendar in ``_calendars.yaml``: name, type and meaning of each."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from difflib import SequenceMatcher
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from batchy_provider.config.base_model import FileModel
from batchy_provider.config.diagnostics import did_you_mean, one_of, show
from batchy_provider.config.field_types import wrong
from batchy_provider.core.calendars import WEEKDAYS, Calendar
from batchy_provider.core.holiday_library import all_codes, is_known, regions_of

DAYS = tuple(name[:3].lower() for name in WEEKDAYS)
"""The days of a week as calendars write them, from Monday."""
_DAY_TEXT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
_SHOWN_REGIONS = 20
_ALIKE = 0.6


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _each_once(entries: list[str]) -> list[str]:
    for index, entry in enumerate(entries):
        if entry in entries[:index]:
            raise wrong(f"{entry} is given twice; remove one")
    return entries


def _weekday(value: Any) -> str:
    if isinstance(value, str):
        name = value.lower()
        if name in DAYS:
            return name
        if value.capitalize() in WEEKDAYS:
            return name[:3]
    hint = did_you_mean(value, DAYS) if isinstance(value, str) else ""
    raise wrong(f"expected days of the week such as [fri, sat], not {show(value)}{hint}")


def _some_day_is_left(days: list[str]) -> list[str]:
    if len(days) == len(DAYS):
        raise wrong("no day of the week is left for business; remove one")
    return days


def _instead_of(code: str) -> str:
    """Say which codes may be meant: the regions of a country, or those that look alike."""
    country = code.partition("-")[0]
    if "-" in code and is_known(country):
        regions = regions_of(country)
        if len(regions) <= _SHOWN_REGIONS:
            return (
                f"{country} has {one_of(regions).replace(' or ', ' and ')}" if regions else f"{country} has no regions"
            )
        return _alike(code, regions) or f"{country} has regions such as {', '.join(regions[:_SHOWN_REGIONS])}"
    return _alike(code, all_codes()) or "expected a country (DE), a region (DE-BY) or a market (ECB)"


def _alike(code: str, known: Iterable[str]) -> str:
    def likeness(other: str) -> float:
        return SequenceMatcher(None, code.casefold(), other.casefold()).ratio()

    found = [each for each in sorted(known, key=likeness, reverse=True)[:3] if likeness(each) >= _ALIKE]
    return f"did you mean {one_of([repr(each) for each in found])}?" if found else ""


def _code(value: Any) -> str:
    if isinstance(value, str):
        if is_known(value):
            return value
        raise wrong(f"no holidays have the code {show(value)}; {_instead_of(value)}")
    # YAML reads the code of Norway, NO, as false.
    message = f"expected codes of countries, regions and markets such as DE-BY or [DE, ECB], not {show(value)}"
    raise wrong(message, needs_quotes=isinstance(value, bool | int | float))


def _day(value: Any) -> str:
    if isinstance(value, str) and _DAY_TEXT.fullmatch(value):
        try:
            return date.fromisoformat(value).isoformat()
        except ValueError:
            pass
    raise wrong(f"expected days such as 2026-12-31, not {show(value)}")


def _schema(**entry: Any) -> WithJsonSchema:
    one = {"type": "string", **entry}
    return WithJsonSchema({"anyOf": [one, {"type": "array", "items": one, "uniqueItems": True}]})


Weekdays = Annotated[
    list[Annotated[str, BeforeValidator(_weekday)]],
    BeforeValidator(_as_list),
    AfterValidator(_each_once),
    AfterValidator(_some_day_is_left),
    _schema(enum=[*DAYS, *(each.lower() for each in WEEKDAYS)]),
]
Codes = Annotated[
    list[Annotated[str, BeforeValidator(_code)]],
    BeforeValidator(_as_list),
    AfterValidator(_each_once),
    _schema(examples=["ECB", "NYSE", "DE-BY"]),
]
DaysOfYear = Annotated[
    list[Annotated[str, BeforeValidator(_day)]],
    BeforeValidator(_as_list),
    AfterValidator(_each_once),
    _schema(pattern="^[0-9]{4}-[0-9]{2}-[0-9]{2}$", examples=["2026-12-31"]),
]


class CalendarModel(FileModel):
    """One calendar: which days are business days and which are holidays."""

    extends: str | None = Field(
        default=None,
        description="Another calendar: this one has its weekend, holidays and days, and what is written here.",
    )
    weekend: Weekdays | None = Field(
        default=None,
        description="Days of the week that are never business days, such as `[fri, sat]`, or `[]` for none. "
        "Without it, those of the calendar that it extends, else Saturday and Sunday, in all countries.",
    )
    holidays: Codes = Field(
        default_factory=list,
        description="Codes of countries (`DE`), their regions (`DE-BY`) and markets (`ECB`, `NYSE`). A holiday of any "
        "of them counts.",
    )
    add: DaysOfYear = Field(default_factory=list, description="Days that are holidays, too.")
    remove: DaysOfYear = Field(
        default_factory=list,
        description="Holidays that are ordinary days. One on a weekend stays a day of the weekend.",
    )


def calendar_of(name: str, model: CalendarModel, base: Calendar | None) -> Calendar:
    """Return the calendar that a file defines.

    :param base: the calendar that it extends.
    """
    base = Calendar(name=name) if base is None else base
    add, remove = (frozenset(map(date.fromisoformat, days)) for days in (model.add, model.remove))
    weekend = None if model.weekend is None else frozenset(map(DAYS.index, model.weekend))
    return Calendar(
        name=name,
        weekend=base.weekend if weekend is None else weekend,
        holidays=tuple(dict.fromkeys([*base.holidays, *model.holidays])),
        add=(base.add - remove) | add,
        remove=(base.remove - add) | remove,
    )


Calendars = Mapping[str, Calendar | None]
"""Name → calendar; None for one whose definition has an error."""


@dataclass(frozen=True, slots=True)
class KnownCalendars:
    """The calendars that the workflows of a folder can pick.

    :param calendars: by name.
    :param own: those that the nearest file defines.
    :param files: the files that define them, nearest first.
    :param complete: whether all of these files could be read.
    """

    calendars: Calendars = field(default_factory=dict)
    own: Calendars = field(default_factory=dict)
    files: tuple[Path, ...] = ()
    complete: bool = True


NO_CALENDARS = KnownCalendars()
