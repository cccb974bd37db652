# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""What a calendar says of a day, and what it knows of the library."""

from __future__ import annotations

import subprocess
import sys
from datetime import date

import pytest

from batchy_provider.core.calendars import Calendar
from batchy_provider.core.holiday_library import all_codes, holidays_of, is_known, last_year_of
from batchy_provider.exceptions import StateError

SHOP = Calendar(
    name="shop",
    weekend=frozenset({6}),
    holidays=("DE-BY", "ECB"),
    add=frozenset({date(2026, 12, 31), date(2026, 12, 25)}),
    remove=frozenset({date(2026, 11, 1), date(2026, 6, 4)}),
)


@pytest.mark.parametrize(
    ("day", "name", "reason"),
    [
        ("2026-04-03", "Good Friday, DE-BY", "Good Friday, DE-BY"),
        ("2026-12-31", "added to shop", "added to shop"),
        ("2026-12-25", "Christmas Day, DE-BY", "Christmas Day, DE-BY"),  # added, and a holiday already
        ("2026-06-04", None, None),  # Corpus Christi is removed
        ("2026-11-01", None, "Sunday"),  # a removed holiday that is a Sunday stays one
        ("2026-04-04", None, None),  # a Saturday
        ("2026-04-05", None, "Sunday"),
    ],
)
def test_a_day_of_a_calendar(day: str, name: str | None, reason: str | None) -> None:
    found = date.fromisoformat(day)
    assert SHOP.holiday_name(found) == name
    assert SHOP.day_off(found) == reason
    assert SHOP.is_business_day(found) == (reason is None)
    assert (found in SHOP.holidays_in(2026)) == (name is not None)


def test_the_last_year_is_the_least_of_all_codes() -> None:
    assert Calendar(name="weekends").last_year_known is None
    both = Calendar(name="both", holidays=("ECB", "JP"))
    assert both.last_year_known == min(last_year_of("ECB"), last_year_of("JP"))
    last = last_year_of("ECB")
    assert holidays_of("ECB", last)
    assert not holidays_of("ECB", last + 1)
    assert Calendar(name="ecb", holidays=("ECB",)).is_business_day(date(last + 1, 1, 1)) == (
        date(last + 1, 1, 1).weekday() < 5
    )


@pytest.mark.parametrize("code", ["DE", "DE-BY", "US-NY", "GB-SCT", "ECB", "NYSE", "XNYS", "DEU"])
def test_codes_of_countries_regions_and_markets(code: str) -> None:
    assert is_known(code)


@pytest.mark.parametrize(
    "code", ["DE-XX", "DE-", "de", "ZZ", "Germany", "DE-BY-X", "", "ECB-DE", "list_localized_countries"]
)
def test_other_codes(code: str) -> None:
    assert not is_known(code)
    with pytest.raises(StateError, match="does not know the code"):
        Calendar(name="x", holidays=(code,)).is_business_day(date(2026, 1, 1))


def test_all_codes_are_known() -> None:
    codes = all_codes()
    assert {"DE", "DE-BY", "ECB", "NYSE"} <= set(codes)
    assert [code for code in codes if not is_known(code)] == []


def test_names_are_english_in_each_locale() -> None:
    program = "from datetime import date; from batchy_provider.core.holiday_library import holidays_of; "
    program += "print(holidays_of('DE', 2026)[date(2026, 4, 3)])"
    for language in ("de_DE.UTF-8", "C"):
        found = subprocess.run(
            [sys.executable, "-c", program], env={"LANG": language, "LANGUAGE": "de"}, capture_output=True, text=True
        )
        assert found.stdout.strip() == "Good Friday", found.stderr


def test_a_schedule_without_a_calendar_does_not_import_the_library() -> None:
    program = (
        "import sys; from datetime import datetime; from batchy_provider.core.schedules import Schedule; "
        "from batchy_provider.core.calendars import Calendar; from batchy_provider.core import schedule_form; "
        "plain = Schedule(crons=('0 2 * * *',)); plain.next_fire(datetime(2026, 1, 1)); "
        "weekends = Schedule(crons=('0 2 * * *',), calendar=Calendar(name='weekends')); "
        "weekends.next_fire(datetime(2026, 1, 1)); "
        "print([name for name in sys.modules if name.split('.')[0] == 'holidays'])"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert found.stdout.strip() == "[]", found.stderr
