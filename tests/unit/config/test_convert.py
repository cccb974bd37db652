# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Workflow files made from a crontab and from the original's files: each is valid, and lists what is left out."""

from __future__ import annotations

from pathlib import Path

from batchy_provider.config.convert import Converted, from_crontab, from_original
from batchy_provider.config.document import parse
from batchy_provider.config.editing import yaml_text
from batchy_provider.config.reader import Reader, read_folder
from batchy_provider.config.workflow import Workflow

FACTS = [
    "cron ran in the machine's timezone, and workflows run in UTC: set timezone if that differs",
    "cron starts a command in the home folder, and a job starts in an empty folder: write cd or whole paths",
    "commands ran in /bin/zsh and run in bash now",
    "cron sets USER, LOGNAME and HOME for its user; a job has those of Airflow's worker",
    "the output of commands is not mailed; it is in the task's log; add on_failure with a notifier",
    "no mail is sent (MAILTO=ops@example.com); add on_failure with a notifier",
]
CRONTAB = r"""
SHELL=/bin/zsh
PATH = "/opt/etl/bin:/usr/bin"

# Sales,
# every night
0 2 * * *   cd /opt/etl && ./load_sales.sh --day "$(date +\%F)"
@daily      /opt/etl/bin/stock.sh
CRON_TZ=Europe/Paris
MAILTO=ops@example.com

30 4 * * 1-5 mail -s x boss%Dear boss,%all is well
15 5 31 6 *  never.sh
@reboot      start_all
61 * * * *   wrong.sh
0 6 * * *
0 7 * * *    /opt/etl/bin/stock.sh again
0 8 * * *    open close
"""


def valid(converted: Converted, folder: Path) -> Workflow:
    path = folder / f"{converted.name}.yaml"
    path.write_text(yaml_text(converted.data))
    workflow, diagnostics = Reader(folder).read(path)
    assert diagnostics == []
    assert workflow is not None
    return workflow


class TestCrontab:
    def test_each_line_is_a_workflow(self):
        made = from_crontab(CRONTAB).workflows
        assert [each.name for each in made] == ["load_sales", "stock", "mail", "stock_2", "open"]
        sales, stock, mail, _, opening = made
        assert sales.data == {
            "schedule": "0 2 * * *",
            "jobs": {
                "load_sales": {
                    "bash": 'cd /opt/etl && ./load_sales.sh --day "$(date +%F)"',
                    "env": {"PATH": "/opt/etl/bin:/usr/bin"},
                }
            },
        }
        assert sales.comment == ["Sales,", "every night"]
        assert sales.left == []
        assert (stock.data["schedule"], stock.comment) == ("@daily", [])
        assert mail.data["timezone"] == "Europe/Paris"
        assert mail.data["jobs"]["mail"]["bash"] == ("{ mail -s x boss\n} <<'INPUT'\nDear boss,\nall is well\nINPUT")
        assert mail.left == ["what cron gave on stdin (after %) is a here-document now: check it"]
        assert list(opening.data["jobs"]) == ["run_open"]

    def test_what_could_not_be_carried_over(self):
        found = from_crontab(CRONTAB)
        assert [*found.left_out, *found.remarks] == [
            "line 13: '15 5 31 6 *' never fires: none of its months has a day 31: 15 5 31 6 *  never.sh",
            "line 14: a workflow is not started by a reboot: @reboot      start_all",
            "line 15: the minute '61' is not valid; expected 0 to 59: 61 * * * *   wrong.sh",
            "line 16: no schedule and command: 0 6 * * *",
            *FACTS,
        ]

    def test_all_are_valid(self, tmp_path: Path):
        for each in from_crontab(CRONTAB).workflows:
            valid(each, tmp_path)

    def test_of_the_system(self):
        (made,) = from_crontab("CRON_TZ=UTC\n0 2 * * * etl /opt/etl/load.sh -v\n", with_user=True).workflows
        assert made.data["jobs"] == {"load": {"bash": "/opt/etl/load.sh -v"}}
        assert made.left == ["it ran as the user etl and runs as Airflow's worker now"]

    def test_a_command_without_a_name(self):
        (made,) = from_crontab("TZ=UTC\n0 2 * * * ( echo 'x )\n").workflows
        assert made.name in ("line_2", "echo")


class TestOriginal:
    def test_params_and_settings(self, tmp_path: Path):
        (tmp_path / "wf1.yaml").write_text(
            "extract: {region: eu, reprocess_hours: '2', trunc_start: 'true', status: success}\n"
            "load: {reprocess_hours: 0.5, trunc_start: true}\nclose:\n"
        )
        made = from_original(read_folder(tmp_path).workflows["wf1"])
        assert parse(yaml_text(made.data)).data == {
            "enabled": False,
            "jobs": {
                "extract": {
                    "bash": "echo 'say here what extract runs'; exit 1",
                    "reprocess_hours": 2,
                    "params": {"region": "eu"},
                },
                "load": {
                    "bash": "echo 'say here what load runs'; exit 1",
                    "reprocess_hours": 0.5,
                    "trunc_start": True,
                },
                "run_close": {"bash": "echo 'say here what run_close runs'; exit 1"},
            },
        }
        assert made.left == [
            "the original does not say what jobs run: write it into each job, and remove enabled: false",
            "extract: trunc_start was the text 'true', which the original ignored; left out",
            "extract: status are state, which belongs in Redis; left out",
            "the job 'close' is 'run_close' now; its state in Redis is not renamed",
        ]
        assert not valid(made, tmp_path).has_dag
