# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Write a batch for other programs: JSON of the original, parameter files of Informatica."""

from __future__ import annotations

import json
from typing import Any

import pytest

from batchy_provider.exceptions import ConfigError
from batchy_provider.original.formats import check_format, check_infa, to_infa, to_json

JOBS: dict[str, dict[str, Any]] = {
    "s_extract": {
        "region": "eu",
        "$DBConnection": "ora_dwh",
        "$$MyParam": 5,
        "full": True,
        "empty": None,
        "codes": [1, "é"],
        "batch_id": 1795372788,
        "status": "open",
        "from_date": "1776-07-04T23:59:00.000000",
        "to_date": "2026-11-22T18:39:48.012345",
        "batch_end": None,
    }
}


def test_without_a_folder_the_file_is_that_of_the_original_with_powercenter_dates() -> None:
    assert to_infa("sales", JOBS) == (
        "[s_extract]\n"
        "$$region=eu\n"
        "$DBConnection=ora_dwh\n"
        "$$MyParam=5\n"
        "$$full=TRUE\n"
        "$$empty=\n"
        '$$codes=[1, "é"]\n'
        "$$batch_id=1795372788\n"
        "$$status=open\n"
        "$$from_date=07/04/1776 23:59:00.000000\n"
        "$$to_date=11/22/2026 18:39:48.012345\n"
        "$$batch_end=\n"
    )


def test_an_empty_line_separates_the_sections_of_jobs() -> None:
    assert to_infa("sales", {"a": {"x": 1}, "b": {"x": 2}}) == "[a]\n$$x=1\n\n[b]\n$$x=2\n"


@pytest.mark.parametrize(
    ("options", "heading"),
    [
        ({}, "[extract]"),
        ({"folder": "DWH"}, "[DWH.WF:sales.ST:extract]"),
        ({"folder": "DWH", "workflow": "wf_sales"}, "[DWH.WF:wf_sales.ST:extract]"),
        ({"folder": "DWH", "session": "s_m_{job}"}, "[DWH.WF:sales.ST:s_m_extract]"),
    ],
)
def test_the_heading_is_what_powercenter_looks_for(options: dict[str, str], heading: str) -> None:
    assert to_infa("sales", {"extract": {}}, options).splitlines() == [heading]


def test_dates_are_iso_on_request() -> None:
    jobs = {"a": {"from_date": "2026-11-22T18:39:48.000000"}}
    assert "$$from_date=2026-11-22T18:39:48.000000" in to_infa("sales", jobs, {"dates": "iso"})
    assert "$$from_date=2026-11-22T18:39:48.000000" in to_infa("sales", jobs, dates="iso")
    assert "$$from_date=11/22/2026 18:39:48.000000" in to_infa("sales", jobs, {"dates": "iso"}, dates="powercenter")


def test_a_date_of_the_original_is_read_for_powercenter() -> None:
    assert "=11/22/2026 18:39:48.000000" in to_infa("sales", {"a": {"batch_start": "2026-11-22T18:39:48"}})


def test_a_param_that_only_looks_like_a_date_does_not_change() -> None:
    assert "$$since=2026-11-22" in to_infa("sales", {"a": {"since": "2026-11-22"}})


@pytest.mark.parametrize("value", ["a\nb", "a\rb", "a\r\nb", ["a\nb"], {"k": "a\nb"}, "a\x0bb", "a\u2028b"])
def test_a_line_break_in_a_value_never_makes_a_second_line(value: Any) -> None:
    try:
        lines = to_infa("sales", {"a": {"x": value}}).count("\n")
    except ConfigError as error:
        lines = 2 if "sales, job 'a', x: its value has a line break" in str(error) else 0
    assert lines == 2


@pytest.mark.parametrize("name", ["a b", "a=b", "a[b", "a]b", "a\nb", "a\tb", ""])
def test_a_name_that_the_file_cannot_contain_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="job 'a'"):
        to_infa("sales", {"a": {name: 1}})


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"folders": "x"}, "infa has no key 'folders'; its keys are folder"),
        ({"folder": 5}, "infa folder is 5"),
        ({"folder": "a]b"}, "infa folder is 'a]b'"),
        ({"session": "a\nb"}, "infa session"),
        ({"dates": "american"}, "infa dates is 'american'; expected powercenter or iso"),
    ],
)
def test_options_are_checked(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        check_infa("sales", options)


def test_json_is_the_same_as_the_body_of_the_original() -> None:
    assert json.loads(to_json(JOBS)) == JOBS
    assert to_json({"a": {"x": 1}}) == '{\n    "a": {\n        "x": 1\n    }\n}'


def test_an_unknown_format_is_refused() -> None:
    assert check_format("infa") == "infa"
    with pytest.raises(ConfigError, match="there is no format 'xml'; use one of json, infa"):
        check_format("xml")
