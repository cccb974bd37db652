# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""A converted crontab fires as cron would have, runs the same commands, and is always valid."""

from __future__ import annotations

import subprocess
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from croniter import croniter
from hypothesis import example, given, settings
from hypothesis import strategies as st
from jinja2.sandbox import SandboxedEnvironment
from thoroughness import scaled

from batchy_provider.config.convert import file_text, from_crontab
from batchy_provider.config.cron_expressions import PRESETS, cron_problem
from batchy_provider.config.crontab import decode_crontab
from batchy_provider.config.jinja import literal
from batchy_provider.config.programs import program_of
from batchy_provider.config.reader import Reader

FIRST = datetime(2027, 1, 1)
NAMES = {
    3: ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"],
    4: ["sun", "mon", "tue", "wed", "thu", "fri", "sat"],
}
BOUNDS = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))


def vixie(text: str, place: int) -> set[int]:
    """Return the numbers that cron's man page gives to a field."""
    low, high = BOUNDS[place]
    numbers = set()
    for item in text.lower().split(","):
        span, _, step = item.partition("/")
        if span == "*":
            first, last = low, high
        else:
            first, last = (
                NAMES[place].index(end) + (place == 3) if end.isalpha() else int(end)
                for end in (span.split("-") * 2)[:2]
            )
        numbers |= set(range(first, last + 1, int(step or 1)))
    return {number % 7 for number in numbers} if place == 4 else numbers


def fires(cron: str) -> list[datetime]:
    """Return when cron starts a line within a year: both days must match if a field begins with a star, else one."""
    texts = cron.split()
    minutes, hours, days, months, weekdays = (vixie(text, place) for place, text in enumerate(texts))
    both = texts[2][0] == "*" or texts[4][0] == "*"
    found = []
    for day in (FIRST.date() + timedelta(days=number) for number in range(365)):
        matches = (day.day in days, day.isoweekday() % 7 in weekdays)
        if day.month in months and (all(matches) if both else any(matches)):
            found += [datetime(day.year, day.month, day.day, hour, minute) for hour in hours for minute in minutes]
    return sorted(found)


def fires_in_airflow(schedule: str) -> list[datetime]:
    cron = croniter(PRESETS.get(schedule, schedule), FIRST - timedelta(minutes=1))
    found = []
    while (moment := cron.get_next(datetime)) < FIRST + timedelta(days=365):
        found.append(moment)
    return found


def field(place: int, low: int, high: int) -> st.SearchStrategy[str]:
    number = st.integers(low, high)
    pair = st.tuples(number, number).map(sorted)
    step = st.integers(1, 40)
    forms = [
        st.just("*"),
        number.map(str),
        st.tuples(pair, step).map(lambda both: f"{both[0][0]}-{both[0][1]}/{both[1]}"),
        pair.map(lambda both: f"{both[0]}-{both[1]}"),
        st.sampled_from((1, 2, 3, 7)).map("*/{}".format),
        st.lists(number.map(str), min_size=2, max_size=3).map(",".join),
    ]
    if place in NAMES:
        forms.append(st.sampled_from(NAMES[place]))
    return st.one_of(forms)


CRONS = st.tuples(*(field(n, *BOUNDS[n]) for n in (2, 3, 4))).map(lambda days: " ".join(("7 3", *days)))


@pytest.mark.slow
@settings(max_examples=scaled(30))
@given(cron=CRONS)
@example(cron="0 9 */1 * 1-5")
@example(cron="0 9 1-31 * 1-5")
@example(cron="0 9 1 * */1")
@example(cron="0 9 13 * fri")
@example(cron="7 3 31 2 *")
@example(cron="7 3 * * 1-7/2")
@example(cron="7 3 3-3 * *")
def test_a_converted_line_fires_when_cron_would_have_or_is_left_out_with_a_word(cron: str) -> None:
    made, left_out, _ = from_crontab(f"CRON_TZ=UTC\n{cron} load.sh\n")
    if made:
        assert fires_in_airflow(made[0].data["schedule"]) == fires(cron)
    else:
        assert left_out[0].startswith("line 2: ")


@settings(max_examples=scaled(30))
@given(cron=CRONS)
def test_what_validate_accepts_fires_as_cron_would(cron: str) -> None:
    if cron_problem(cron) is None:
        days = {moment.date() for moment in fires_in_airflow("0 0 " + " ".join(cron.split()[2:]))}
        assert days == {moment.date() for moment in fires("0 0 " + " ".join(cron.split()[2:]))}


LINES = st.one_of(
    st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=40),
    st.tuples(CRONS, st.text(st.characters(codec="latin-1"), min_size=1, max_size=30)).map(" ".join),
    st.tuples(
        st.sampled_from(["@daily", "@reboot", "@hourly", "0 2 * * *", "0 0 2 * * *", "* * * * * *"]),
        st.sampled_from(
            ["root cd / && x", "{{ x }}", "a%b%c", "x {% endraw %} {{", "echo ${#a} #}", "sh -c 'y", "no: yes", "'"]
        ),
    ).map(" ".join),
    st.sampled_from(["TZ=UTC", "CRON_TZ=Mars", "A='{{ x }}'", "BATCHY_X=1", "MAILTO=", "# note: {x}", "N=0022", "E="]),
)


@pytest.mark.slow
@given(lines=st.lists(LINES, max_size=6), with_user=st.sampled_from([None, True, False]))
def test_every_file_that_is_written_is_valid(lines: list[str], with_user: bool | None) -> None:
    made = from_crontab("\n".join(lines), with_user=with_user).workflows
    assert len({each.name.casefold() for each in made}) == len(made)
    for each in made:
        _, diagnostics = Reader("cfg").read_text(Path(f"cfg/{each.name}.yaml"), file_text(each))
        assert diagnostics == []


@given(st.text(st.sampled_from("{}%# endraw'\"x\n-"), max_size=25))
def test_braces_of_a_command_stay_as_they_are(text: str) -> None:
    text += "."  # a template drops one line feed at its end
    assert SandboxedEnvironment().from_string(literal(text)).render() == text


def only(text: str, **options: Any) -> Any:
    (made,) = from_crontab(text, **options).workflows
    return made


def test_a_timezone_of_commands_is_not_that_of_the_schedule() -> None:
    made = only("TZ=Asia/Tokyo\nCRON_TZ=Europe/Paris\n0 2 * * * load.sh\n")
    assert made.data["timezone"] == "Europe/Paris"
    assert made.data["jobs"]["load"]["env"] == {"TZ": "Asia/Tokyo"}
    assert "timezone" not in only("TZ=Asia/Tokyo\n0 2 * * * load.sh\n").data


def test_seconds_and_users_are_recognized() -> None:
    made = only("0 0 2 * * * load.sh\n")
    assert (made.data["schedule"], made.data["jobs"]) == ("0 2 * * *", {"load": {"bash": "load.sh"}})
    assert "is seconds, and Airflow schedules by the minute" in from_crontab("*/5 * * * * * load.sh\n").left_out[0]
    made = only("0 2 * * * root load.sh\n")
    assert made.data["jobs"] == {"load": {"bash": "load.sh"}}
    assert made.left == ["it ran as the user root and runs as Airflow's worker now"]
    assert only("# m h dom mon dow user  command\n0 2 * * * sales load.sh\n").name == "load"
    assert only("0 2 * * * find /tmp -delete\n").name == "find", "no user, though a path follows"


def test_what_is_the_same_for_all_is_said_once() -> None:
    made, left_out, remarks = from_crontab("SHELL=/bin/sh\nMAILTO=ops\n0 2 * * * a.sh\n0 3 * * * b.sh\n")
    assert [each.left for each in made] == [[], []]
    assert left_out == []
    assert len(remarks) == len(set(remarks)) == 5


def test_what_follows_a_percent_sign_reaches_the_whole_command() -> None:
    made = only(r"0 2 * * * true; cat - | tr a-z A-Z %one%INPUT%100\%" + "\n")
    (job,) = made.data["jobs"].values()
    done = subprocess.run(["bash", "-c", job["bash"]], capture_output=True, check=True)
    assert done.stdout == b"ONE\nINPUT\n100%\n"


@pytest.mark.parametrize(
    ("command", "name"),
    [
        ("cd /opt/etl && ./load.sh --day x", "load"),
        ("sudo -u etl -E /opt/load.sh", "load"),
        (". /etc/profile; source ~/.x; load", "load"),
        ("nice -n 19 ionice -c3 /x/load.sh", "load"),
        ("flock -n /tmp/l.lock timeout -k 5 300 python3 -u /x/load.py", "load"),
        ("flock -n /tmp/l -c 'load.sh x'", "load"),
        ("bash -lc 'cd /x && ./load.sh'", "load"),
        ("env -i PATH=/bin A=1 load.sh", "load"),
        ("[ -x /usr/bin/load ] && /usr/bin/load -q", "load"),
        ("test -x /k || ( cd / && run-parts --report /etc/cron.daily )", "run-parts"),
        ("su - etl -c '/x/load.sh -a'", "load"),
        ("java -Xmx1g -jar /x/load.jar", "load"),
        (">/dev/null 2>&1 load.sh", "load"),
        ("for f in a b; do load.sh $f; done", "load"),
        ("export A=1; exec >> log 2>&1; load.sh", "load"),
        ("case $1 in a) ./load.sh;; esac", "load"),
        ("c --load x", "c"),
        ("echo done", None),
        ("'", None),
    ],
)
def test_a_workflow_is_named_by_its_program(command: str, name: str | None) -> None:
    assert program_of(command) == name


def test_bytes_of_other_editors() -> None:
    assert decode_crontab(b"\xef\xbb\xbfA=1") == ("A=1", True)
    assert decode_crontab("A=é".encode("latin-1")) == ("A=é", False)
    assert decode_crontab("A=é".encode("utf-16"))[0].lstrip("\ufeff") == "A=é"
    assert decode_crontab(b"A=\x81\xe9")[0] == "A=\x81é"


def test_the_reference_itself() -> None:
    assert [moment.date() for moment in fires("0 0 13 1 fri")] == [date(2027, 1, day) for day in (1, 8, 13, 15, 22, 29)]
    assert [moment.day for moment in fires("0 0 */10 1 fri")] == [1]
