# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Ask the library ``holidays`` for the holidays of a country, a region or a market.

It is imported only when something is asked: an import takes longer than the files of many workflows.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from functools import lru_cache
from types import MappingProxyType
from typing import Any

from batchy_provider.exceptions import StateError

_LANGUAGE = "en_US"


@lru_cache(maxsize=4096)
def holidays_of(code: str, year: int) -> Mapping[date, str]:
    """Return the holidays of a year with their names, in English.

    :param code: a country (``DE``), a region of one (``DE-BY``), or a market (``ECB``, ``NYSE``).
    :returns: an empty mapping for years that the library does not know.
    :raises StateError: if the library does not know the code.
    """
    entity, subdivision = _entity(code)
    language = _LANGUAGE if _LANGUAGE in (getattr(entity, "supported_languages", None) or ()) else None
    found = entity(years=year, subdiv=subdivision, expand=False, language=language)
    return MappingProxyType({day: name for day, name in sorted(found.items()) if day.year == year})


def is_known(code: str) -> bool:
    """Tell whether the library knows a country, region or market."""
    try:
        _entity(code)
    except StateError:
        return False
    return True


def last_year_of(code: str) -> int:
    """Return the last year of which the library knows the holidays.

    :raises StateError: if the library does not know the code.
    """
    return int(_entity(code)[0].end_year)


def all_codes() -> list[str]:
    """Return all codes of the library: countries, their regions, and markets."""
    from holidays import list_supported_countries, list_supported_financial

    codes: list[str] = []
    for known in (list_supported_countries(), list_supported_financial()):
        for code, subdivisions in known.items():
            codes += [code, *(f"{code}-{each}" for each in subdivisions)]
    return sorted(set(codes))


def regions_of(code: str) -> list[str]:
    """Return the codes of the regions of a country or market; none for a code that the library does not know."""
    try:
        entity, _ = _entity(code)
    except StateError:
        return []
    return [f"{code}-{each}" for each in entity.subdivisions]


@lru_cache(maxsize=1024)
def _entity(code: str) -> tuple[Any, str | None]:
    """Return the class of a country or market, and the region."""
    import holidays
    from holidays.registry import COUNTRIES, FINANCIAL

    place, _, subdivision = code.partition("-")
    codes = {each for names in COUNTRIES.values() for each in names[1:]}
    codes |= {each for names in FINANCIAL.values() for each in names}
    if place in codes:
        entity = getattr(holidays, place)
        if not subdivision and place == code:
            return entity, None
        if subdivision in entity.subdivisions:
            return entity, subdivision
    from importlib.metadata import version

    raise StateError(f"the library holidays {version('holidays')} does not know the code {code!r}; update the library")
