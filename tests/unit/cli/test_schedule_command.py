# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""`schedule`: when a workflow is due next, from its file without Redis and Airflow, or as Redis remembers it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command_line import Cli

from batchy_provider.cli.main import main
from batchy_provider.core.schedules import Schedule
from batchy_provider.core.values import OpenRequest, WorkflowConfig

JOBS = 'jobs: {load: {bash: "true"}}\n'


@pytest.fixture(autouse=True)
def cfg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of workflow files that commands read without ``--cfg``."""
    for name in ("BATCHY_CFG", "BATCHY_REDIS_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cfg").mkdir()
    return tmp_path / "cfg"


def add(cfg: Path, text: str, name: str = "sales") -> None:
    (cfg / f"{name}.yaml").write_text(text + JOBS)


class Shell:
    """Calls ``batchy schedule`` without a Redis."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *arguments: str, code: int = 0) -> str:
        assert main(["schedule", *arguments]) == code, self._capsys.readouterr().err
        out, self.said = self._capsys.readouterr()
        return out

    def json(self, *arguments: str) -> list[dict[str, str | None]]:
        found: list[dict[str, str | None]] = json.loads(self("-o", "json", *arguments))
        return found


@pytest.fixture
def schedule(capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(capsys)


class TestFires:
    def test_each_has_the_offset_that_is_in_force_then(self, cfg: Path, schedule: Shell) -> None:
        add(cfg, 'schedule: "0 2 * * 1-5"\ntimezone: Europe/Berlin\n')
        assert schedule.json("sales", "--from", "2026-10-23", "--count", "2") == [
            {"due": "2026-10-23T02:00:00+02:00", "day": "2026-10-23", "note": None},
            {"due": "2026-10-26T02:00:00+01:00", "day": "2026-10-26", "note": None},
        ]

    def test_without_options_ten_from_now_on(self, cfg: Path, schedule: Shell) -> None:
        add(cfg, "schedule: '@hourly'\n")
        found = schedule.json("sales")
        assert len(found) == 10
        assert {str(each["due"])[19:] for each in found} == {"+00:00"}
        assert not schedule.said

    def test_the_table_has_weekday_local_time_and_offset(self, cfg: Path, schedule: Shell) -> None:
        add(cfg, 'schedule: "30 1 * * *"\ntimezone: America/New_York\n')
        shown = schedule("sales", "--from", "2026-11-01", "--count", "1")
        assert "offset (America/New_York)" in shown
        assert shown.split()[-4:] == ["2026-11-01", "Sun", "01:30", "-05:00"]

    @pytest.mark.parametrize(
        ("start", "first"),
        [
            ("2026-07-02", "2026-07-02T00:00:00+02:00"),
            ("2026-07-02T00:00:01", "2026-07-03T00:00:00+02:00"),
            ("2026-07-01T22:00Z", "2026-07-02T00:00:00+02:00"),
            ("2026-07-01T22:00:00.000001+00:00", "2026-07-03T00:00:00+02:00"),
        ],
    )
    def test_from_is_inclusive_and_in_the_timezone_of_the_workflow(
        self, cfg: Path, schedule: Shell, start: str, first: str
    ) -> None:
        add(cfg, "schedule: '@daily'\ntimezone: Europe/Berlin\n")
        assert schedule.json("sales", "--from", start, "--count", "1")[0]["due"] == first

    @pytest.mark.parametrize(
        ("cron", "spring", "autumn"),
        [
            ("30 2 * * *", ["03:30+02:00"], ["02:30+01:00"]),
            ("0 3 * * *", ["03:00+02:00"], ["03:00+01:00"]),
            ("0 * * * *", ["01:00+01:00", "03:00+02:00"], ["02:00+02:00", "02:00+01:00", "03:00+01:00"]),
        ],
    )
    def test_the_nights_when_the_clocks_change(
        self, cfg: Path, schedule: Shell, cron: str, spring: list[str], autumn: list[str]
    ) -> None:
        """docs/howto/calendars.md has the same table."""
        add(cfg, f'schedule: "{cron}"\ntimezone: Europe/Berlin\n')
        for night, start, expected in (
            ("2026-03-29", "01:00+01:00", spring),
            ("2026-10-25", "02:00+02:00", autumn),
        ):
            found = schedule.json("sales", "--from", f"{night}T{start}", "--count", str(len(expected)))
            assert [str(each["due"])[11:16] + str(each["due"])[19:] for each in found] == expected

    def test_several_crons_are_one_schedule(self, cfg: Path, schedule: Shell) -> None:
        add(cfg, 'schedule: ["0 6 * * *", "0 18 * * 1"]\n')
        found = schedule.json("sales", "--from", "2026-11-30", "--count", "3")
        assert [str(each["due"])[8:13] for each in found] == ["30T06", "30T18", "01T06"]

    def test_a_list_ends_after_thirty_years(self, cfg: Path, schedule: Shell) -> None:
        add(cfg, 'schedule: "0 0 29 2 *"\n')
        found = schedule.json("sales", "--from", "2026-01-01", "--count", "1000")
        assert [each["day"] for each in found] == [f"{year}-02-29" for year in range(2028, 2056, 4)]
        assert "30 years" in schedule.said

    @pytest.mark.parametrize("start", ["0001-01-01", "0001-01-02T00:00Z", "1800-01-01", "9999-12-31", "9999-12-30"])
    def test_the_ends_of_the_calendar_are_no_crash(self, cfg: Path, schedule: Shell, start: str) -> None:
        add(cfg, "schedule: '@daily'\ntimezone: Asia/Tokyo\n")
        assert main(["schedule", "sales", "--from", start, "--left-out"]) in (0, 1)

    @pytest.mark.parametrize("wrong", [["sales", "--count", "0"], ["sales", "--count", "x"], []])
    def test_the_parser_refuses(self, wrong: list[str]) -> None:
        with pytest.raises(SystemExit, match="2"):
            main(["schedule", *wrong])

    def test_a_list_that_is_too_long(self, cfg: Path, schedule: Shell) -> None:
        add(cfg, "schedule: '@hourly'\n")
        assert len(schedule.json("sales", "--count", "1000")) == 1000
        schedule("sales", "--count", "1001", code=2)

    def test_a_date_that_is_none_is_an_error(self, cfg: Path, schedule: Shell) -> None:
        add(cfg, "schedule: '@daily'\n")
        schedule("sales", "--from", "tomorrow", code=1)
        assert "'tomorrow' is not a date" in schedule.said


class TestDatesOfTheFile:
    def test_nothing_is_due_before_the_start(self, cfg: Path, schedule: Shell) -> None:
        add(cfg, "schedule: '@daily'\ntimezone: Europe/Berlin\nstart_date: 2027-02-03\n")
        (first,) = schedule.json("sales", "--from", "2027-01-01", "--count", "1")
        assert first["due"] == "2027-02-03T00:00:00+01:00"
        assert "start_date, 2027-02-03 00:00+01:00" in schedule.said

    def test_nothing_is_due_after_the_end_and_a_fire_at_the_end_is(self, cfg: Path, schedule: Shell) -> None:
        add(cfg, "schedule: '@daily'\nend_date: 2027-02-03\n")
        found = schedule.json("sales", "--from", "2027-02-01", "--count", "9")
        assert [each["day"] for each in found] == ["2027-02-01", "2027-02-02", "2027-02-03"]
        assert "end_date, 2027-02-03" in schedule.said

    def test_a_schedule_that_has_ended_is_an_answer(self, cfg: Path, schedule: Shell) -> None:
        add(cfg, "schedule: '@daily'\nend_date: 2026-02-03\n")
        assert schedule.json("sales") == []
        assert "nothing is due after its end_date" in schedule.said
        assert schedule("sales").strip() == ""


@pytest.mark.parametrize(
    ("key", "says"),
    [
        ("schedule: null\n", "no schedule: only people and programs start it"),
        ("", "no schedule"),
        ("schedule: '@once'\n", "runs once"),
        ("schedule: '@continuous'\n", "a run starts when the one before has ended"),
        ("schedule: {after: [crm, erp], any: true}\n", "runs after crm or erp"),
    ],
)
def test_a_workflow_without_times_says_what_starts_it(cfg: Path, schedule: Shell, key: str, says: str) -> None:
    add(cfg, key)
    for other in ("crm", "erp"):
        add(cfg, "schedule: null\n", other)
    assert schedule.json("sales") == []
    assert says in schedule.said
    assert schedule("sales") == ""
    assert says in schedule.said


def test_a_workflow_that_is_switched_off_says_so_beside_its_times(cfg: Path, schedule: Shell) -> None:
    add(cfg, "schedule: '@daily'\nenabled: false\n")
    assert len(schedule.json("sales")) == 10
    assert "enabled: false" in schedule.said


def test_a_file_in_the_form_of_the_original_has_no_schedule(cfg: Path, schedule: Shell) -> None:
    (cfg / "old.json").write_text('{"load": {"region": "eu"}}')
    assert schedule.json("old") == []
    assert "form of the original Batchy" in schedule.said


class TestErrors:
    def test_an_unknown_workflow_and_the_nearest_one(self, cfg: Path, schedule: Shell) -> None:
        add(cfg, "schedule: '@daily'\n")
        schedule("sale", code=1)
        assert "did you mean 'sales'?" in schedule.said
        assert "--redis-url" in schedule.said

    def test_a_name_that_is_none(self, schedule: Shell) -> None:
        schedule("../sales", code=1)
        assert "holds '/'" in schedule.said

    def test_a_faulty_file_shows_its_line(self, cfg: Path, schedule: Shell) -> None:
        add(cfg, 'schedule: "61 * * * *"\n')
        schedule("sales", code=1)
        assert "sales.yaml:1:" in schedule.said

    def test_a_folder_that_is_not_there(self, cfg: Path, schedule: Shell) -> None:
        schedule("sales", "--cfg", "nowhere", code=1)
        assert "there is no folder nowhere" in schedule.said
        cfg.rmdir()
        schedule("sales", code=1)
        assert "no file of workflow 'sales'" in schedule.said


class TestRedis:
    def test_a_workflow_without_file_has_the_schedule_that_redis_remembers(self, cli: Cli) -> None:
        schedule = Schedule(crons=("0 6 * * *",), timezone="Asia/Tokyo")
        config = WorkflowConfig(name="crm", jobs={"a": {}}, timezone="Asia/Tokyo", schedule=schedule)
        cli.store.open("crm", OpenRequest(config=config))
        (first,) = cli.json("schedule", "crm", "--from", "2026-11-29", "--count", "1")
        assert first["due"] == "2026-11-29T06:00:00+09:00"
        assert "Redis remembers" in cli.said

    def test_one_without_schedule_says_so(self, cli: Cli, sales: str) -> None:
        assert cli.json("schedule", sales) == []
        assert "remembers no schedule" in cli.said

    def test_an_unknown_one_and_the_nearest(self, cli: Cli, sales: str, cfg: Path) -> None:
        add(cfg, "schedule: '@daily'\n", "stock")
        cli("schedule", "sale", code=1)
        assert "did you mean 'sales'?" in cli.said
        cli("schedule", "stok", code=1)
        assert "did you mean 'stock'?" in cli.said
