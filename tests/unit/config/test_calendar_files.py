# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""`_calendars.yaml`: what it defines, what is wrong in it, and what a workflow says of a calendar it cannot use."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from batchy_provider.config.calendar_file import ending
from batchy_provider.config.calendar_model import KnownCalendars
from batchy_provider.config.catalog import Catalog
from batchy_provider.config.file_scan import find_file, find_files
from batchy_provider.config.inspection import inspect_folder
from batchy_provider.config.reader import Reader, read_folder
from batchy_provider.core.calendars import Calendar

JOBS = 'jobs: {load: {bash: "true"}}\n'


def write(folder: Path, **files: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / f"{name}.yaml").write_text(text)
    return folder


def picks(calendar: str, more: str = "") -> str:
    return f'schedule: {{cron: "0 2 * * *", calendar: {calendar}{more}}}\n{JOBS}'


def calendars(folder: Path) -> dict[str, Calendar | None]:
    return dict(Reader(folder).calendars(folder).calendars)


def errors(folder: Path) -> list[str]:
    return [str(each).removeprefix(f"{folder}/") for each in inspect_folder(folder)]


def test_a_file_of_calendars(tmp_path: Path) -> None:
    text = """
        x-note: &weekend [fri, Saturday]
        target2: {holidays: ECB}
        shop: {weekend: [sun], holidays: DE-BY, add: [2026-12-31], remove: [2026-11-01]}
        gulf: {weekend: *weekend, holidays: [SA, NYSE]}
        never_closed: {weekend: []}
        plain:
    """
    assert calendars(write(tmp_path, _calendars=text)) == {
        "target2": Calendar(name="target2", holidays=("ECB",)),
        "shop": Calendar(
            name="shop",
            weekend=frozenset({6}),
            holidays=("DE-BY",),
            add=frozenset({date(2026, 12, 31)}),
            remove=frozenset({date(2026, 11, 1)}),
        ),
        "gulf": Calendar(name="gulf", weekend=frozenset({4, 5}), holidays=("SA", "NYSE")),
        "never_closed": Calendar(name="never_closed", weekend=frozenset()),
        "plain": Calendar(name="plain"),
    }
    assert errors(tmp_path) == []


def test_a_calendar_has_what_it_extends_and_its_own(tmp_path: Path) -> None:
    text = """
        branch: {extends: shop, holidays: [ECB, DE-BY], add: 2026-11-01, remove: 2026-12-31}
        shop: {extends: base, holidays: DE-BY, add: [2026-12-31, 2026-12-24], remove: [2026-11-01]}
        base: {weekend: sun}
    """
    assert calendars(write(tmp_path, _calendars=text))["branch"] == Calendar(
        name="branch",
        weekend=frozenset({6}),
        holidays=("DE-BY", "ECB"),
        add=frozenset({date(2026, 12, 24), date(2026, 11, 1)}),
        remove=frozenset({date(2026, 12, 31)}),
    )


def test_folders_below_have_the_calendars_above_and_their_own(tmp_path: Path) -> None:
    write(tmp_path, _calendars="a: {holidays: ECB}\nb: {holidays: DE}", top=picks("a"))
    below = write(tmp_path / "below", _calendars="b: {extends: b, weekend: sun}\nc: {extends: a}", low=picks("b"))
    deep = write(below / "deep", deep=picks("c"))
    assert calendars(tmp_path).keys() == {"a", "b"}
    found = dict(Reader(tmp_path).calendars(deep).calendars)
    assert found.keys() == {"a", "b", "c"}
    assert found["b"] == Calendar(name="b", weekend=frozenset({6}), holidays=("DE",))
    read = read_folder(tmp_path)
    assert read.diagnostics == []
    assert {name: each.schedule.calendar for name, each in read.workflows.items()} == {
        "top": Calendar(name="a", holidays=("ECB",)),
        "low": found["b"],
        "deep": Calendar(name="c", holidays=("ECB",)),
    }
    # A folder that is read by itself has only its own.
    assert "b.extends: a calendar cannot extend itself" in errors(below)[0]
    assert "c.extends: no calendar 'a' to extend" in errors(below)[1]


@pytest.mark.parametrize("suffix", ["yaml", "yml", "json"])
def test_the_file_is_no_workflow(tmp_path: Path, suffix: str) -> None:
    (tmp_path / f"_calendars.{suffix}").write_text('{"target2": {"holidays": "ECB"}}')
    assert list(find_files(tmp_path)) == []
    assert find_file(tmp_path, "_calendars") is None
    assert calendars(tmp_path).keys() == {"target2"}
    assert read_folder(tmp_path).workflows == {}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: {holidays: NYSEE}", "1:15: a.holidays: no holidays have the code 'NYSEE'; did you mean 'NYSE'"),
        ("a: {holidays: ecb}", "1:15: a.holidays: no holidays have the code 'ecb'; did you mean 'ECB'"),
        ("a: {holidays: [DE, DE-BX]}", "1:20: a.holidays[1]: no holidays have the code 'DE-BX'; DE has DE-BB, DE-BE,"),
        ("a: {holidays: US-CAL}", "1:15: a.holidays: no holidays have the code 'US-CAL'; did you mean 'US-"),
        ("a: {holidays: ECB-X}", "1:15: a.holidays: no holidays have the code 'ECB-X'; ECB has no regions"),
        ("a: {holidays: qqqqqq}", "1:15: a.holidays: no holidays have the code 'qqqqqq'; expected a country (DE), a "),
        ("a: {holidays: NO}", "1:15: a.holidays: expected codes of countries, regions and markets such as DE-BY or "),
        ("a: {holiday: DE}", "1:5: a.holiday: unknown key; did you mean 'holidays'?"),
        ("a: {holidays: [DE, DE]}", "1:15: a.holidays: DE is given twice"),
        (
            "a: {weekend: [sat, sum]}",
            "1:20: a.weekend[1]: expected days of the week such as [fri, sat], not 'sum'",
        ),
        ("a: {weekend: 6}", "1:14: a.weekend: expected days of the week such as [fri, sat], not the number 6"),
        (
            "a: {weekend: [mon, tue, wed, thu, fri, sat, sun]}",
            "1:14: a.weekend: no day of the week is left for",
        ),
        ("a: {add: [2026-02-29]}", "1:11: a.add[0]: expected days such as 2026-12-31, not '2026-02-29'"),
        ("a: {remove: 31.12.2026}", "1:13: a.remove: expected days such as 2026-12-31, not '31.12.2026'"),
        ("a: {add: 2026-W01-1}", "1:10: a.add: expected days such as 2026-12-31, not '2026-W01-1'"),
        ("a: {add: 2026-12-31T00:00}", "1:10: a.add: expected days such as 2026-12-31, not"),
        ("a: {add: 2026-05-01, remove: 2026-05-01}", "1:30: a.remove: 2026-05-01 is also in add"),
        ("abc: {}\nb: {extends: abd}", "2:14: b.extends: no calendar 'abd' to extend; did you mean 'abc'?"),
        ("a: {extends: a}", "1:14: a.extends: a calendar cannot extend itself"),
        ("a: ECB", "1:4: a: expected a mapping (name: value), not 'ECB'"),
        ("a b: {}", "1:1: a b: the name of a calendar has letters, digits"),
        ("[a]", "1:1: expected a mapping of calendars, such as target2: {holidays: ECB}, not a list"),
        ("a: {holidays: ECB", "not valid YAML"),
        ("a: {}\na: {}", "2:1: the key 'a' is given twice"),
        ("", "the file is empty"),
    ],
)
def test_an_error_is_one_with_its_place(tmp_path: Path, text: str, expected: str) -> None:
    found = errors(write(tmp_path, _calendars=text, other=JOBS))
    assert len(found) == 1
    assert found[0].startswith("_calendars.yaml:")
    assert expected in found[0]


def test_a_cycle_is_an_error_of_each_calendar_in_it(tmp_path: Path) -> None:
    write(tmp_path, _calendars="a: {extends: b}\nb: {extends: c}\nc: {extends: a}\nd: {extends: a}\ne: {}")
    assert errors(tmp_path) == [
        f"_calendars.yaml:{line}:14: {name}.extends: calendars extend each other in a cycle: a → b → c → a"
        for line, name in enumerate("abc", 1)
    ]
    assert calendars(tmp_path) == {"a": None, "b": None, "c": None, "d": None, "e": Calendar(name="e")}


def test_a_faulty_calendar_spoils_the_workflows_that_pick_it_and_no_others(tmp_path: Path) -> None:
    write(
        tmp_path,
        _calendars="good: {holidays: ECB}\nbad: {holidays: XYZ}\nworse: {extends: bad}\n",
        fine=picks("good"),
        plain=JOBS,
        spoilt=picks("bad"),
        too=picks("worse"),
        lost=picks("goood"),
    )
    assert read_folder(tmp_path).workflows.keys() == {"fine", "plain"}
    file = tmp_path / "_calendars.yaml"
    found = errors(tmp_path)
    assert found[0].startswith("_calendars.yaml:2:17: bad.holidays: no holidays have the code 'XYZ'")
    assert found[1:] == [
        f"lost.yaml:1:41: schedule.calendar: no calendar 'goood' in {file}; did you mean 'good'?",
        f"spoilt.yaml:1:41: schedule.calendar: the calendar 'bad' cannot be used: it, or one that it extends, has an "
        f"error in {file}",
        f"too.yaml:1:41: schedule.calendar: the calendar 'worse' cannot be used: it, or one that it extends, has an "
        f"error in {file}",
    ]


@pytest.mark.parametrize("text", ["good: {holidays: ECB", "- good", ""])
def test_a_file_that_cannot_be_read_is_what_its_workflows_say(tmp_path: Path, text: str) -> None:
    write(tmp_path, _calendars=text, one=picks("good"), plain=JOBS)
    assert read_folder(tmp_path).workflows.keys() == {"plain"}
    assert f"the calendar 'good' cannot be used: {tmp_path / '_calendars.yaml'} has an error" in errors(tmp_path)[1]


def test_without_a_file_there_is_no_calendar(tmp_path: Path) -> None:
    write(tmp_path, one=picks("target2"))
    assert errors(tmp_path) == [
        "one.yaml:1:41: schedule.calendar: no calendar 'target2': there is no _calendars.yaml in the folder of "
        "workflow files"
    ]


def test_a_special_file_is_one_error(tmp_path: Path) -> None:
    write(tmp_path, one=picks("a"), plain=JOBS)
    (tmp_path / "_calendars.yaml").symlink_to("nowhere.yaml")
    assert read_folder(tmp_path).workflows.keys() == {"plain"}
    found = errors(tmp_path)
    assert len(found) == 2
    assert "_calendars.yaml: cannot be read" in found[0]


def test_a_change_is_seen_at_the_next_reading(tmp_path: Path) -> None:
    write(tmp_path, _calendars="a: {holidays: ECB}", one=picks("a"))
    catalog = Catalog(tmp_path)
    assert catalog.read().workflows["one"].schedule.calendar == Calendar(name="a", holidays=("ECB",))
    write(tmp_path, _calendars="a: {holidays: [NYSE]}")
    assert catalog.read().workflows["one"].schedule.calendar == Calendar(name="a", holidays=("NYSE",))
    write(tmp_path, _calendars="b: {holidays: [NYSE]}")
    found = catalog.read()
    assert found.workflows == {}
    assert len(found.diagnostics) == 1
    assert catalog.read().diagnostics == found.diagnostics
    write(tmp_path, _calendars="a: {holidays: [NYSA]}")
    assert [Path(each.file).stem for each in catalog.read().diagnostics] == ["one", "_calendars"]
    (tmp_path / "_calendars.yaml").unlink()
    assert len(catalog.read().diagnostics) == 1


def test_a_calendar_that_ends_within_a_year_says_so_in_time() -> None:
    def messages(code: str, today: date) -> list[str]:
        own = {"c": Calendar(name="c", holidays=("ECB", code)), "plain": Calendar(name="plain"), "spoilt": None}
        return [each.message for each in ending(KnownCalendars(own=own), today)]

    last = Calendar(name="x", holidays=("ECB",)).last_year_known
    assert last is not None
    assert messages("ECB", date(last - 1, 12, 30)) == []
    found = messages("ECB", date(last, 1, 1))
    assert found == messages("ECB", date(last, 6, 1))
    assert found == [
        f"the holidays of c are known to the end of {last}, and later years have only weekends and the days of add; "
        f"update the library holidays, or add the days of {last + 1}"
    ]
    assert len(messages("ECB", date(last + 10, 6, 1))) == 1


def test_a_calendar_that_ends_is_an_error_of_validate_and_keeps_its_workflows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("batchy_provider.core.calendars.last_year_of", lambda code: date.today().year)
    write(tmp_path, _calendars="a:\n  holidays: ECB\n", one=picks("a"))
    assert read_folder(tmp_path).workflows.keys() == {"one"}
    assert [each.code for each in inspect_folder(tmp_path)] == ["calendar_ends"]
    assert errors(tmp_path)[0].startswith("_calendars.yaml:1:1: a: the holidays of a are known to the end of")
