# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""`wait`: on Redis, for one workflow and for several, with its exit codes."""

from __future__ import annotations

import json
import sys
import threading
import time
from dataclasses import replace
from typing import Any

import pytest
from command_line import CONFIG, Cli

from batchy_provider.cli.main import main
from batchy_provider.core.schedules import Schedule
from batchy_provider.core.values import CloseRequest, OpenRequest
from batchy_provider.state.connections import open_client
from batchy_provider.state.store import Store


class TestWait:
    def test_what_has_succeeded_today_is_over_at_once(self, cli: Cli, sales: str) -> None:
        assert "succeeded" in cli("wait", sales)
        found = cli.json("wait", sales)
        assert (found["state"], found["code"]) == ("done", "succeeded")

    def test_time_is_over(self, cli: Cli) -> None:
        assert cli("wait", "sales", "--timeout", "0.2s", code=124) == ""
        assert "not in Redis yet" in cli.said

    def test_a_failed_batch_ends_it_where_asked(self, cli: Cli) -> None:
        cli.store.open("sales", OpenRequest(config=CONFIG))
        cli.store.close("sales", CloseRequest(result="failed"))
        assert "failed" in cli("wait", "sales", "--on-failed", "fail", "--timeout", "5s", code=1)
        cli("wait", "sales", "--timeout", "0.2s", code=124)
        assert "waiting for a success" in cli.said

    def test_scopes(self, cli: Cli, sales: str) -> None:
        cli("wait", sales, "--within", "1h", "--timeout", "5s")
        cli("wait", sales, "--any", "--timeout", "5s")
        cli("wait", sales, "--day", "2100-01-01", "--timeout", "0.2s", code=124)
        time.sleep(0.05)
        cli("wait", sales, "--within", "0.01s", "--timeout", "0.2s", code=124)

    def test_due_says_which_interval_it_waits_for(self, cli: Cli) -> None:
        config = replace(CONFIG, schedule=Schedule(crons=("0 0 1 1 *",)))
        cli.store.load(config, by="test")
        cli("wait", "sales", "--due", "--timeout", "0.2s", code=124)
        assert "sales: waits for 2" in cli.said
        assert "jobs extract, load: nothing loaded, 36" in cli.said
        late = json.loads(cli("-o", "json", "wait", "sales", "--due", "--job", "load", "--timeout", "0.2s", code=124))
        assert (late["state"], late["code"], late["batch_id"]) == ("waiting", "due_not_loaded", None)
        (found,) = late["intervals"]
        assert (found["job"], found["loaded"], found["loaded_until"]) == ("load", 0, found["from_date"])
        assert found["missing"] == [{name: found[name] for name in ("from_date", "to_date")}]
        batch_id = cli.store.open("sales", OpenRequest(config=config)).batch_id
        cli.store.close("sales", CloseRequest(result="success"))
        done = cli.json("wait", "sales", "--due", "--timeout", "5s")
        assert (done["state"], done["code"], done["batch_id"]) == ("done", "due_loaded", batch_id)
        assert [(each["job"], each["loaded"], each["missing"]) for each in done["intervals"]] == [
            ("extract", 1.0, []),
            ("load", 1.0, []),
        ]
        both = cli.json("wait", "sales", "sales2", "--due", "--timeout", "0.2s", code=124)
        assert list(both["intervals"]) == ["sales"]
        assert both["codes"] == {"sales": "due_loaded", "sales2": "unknown_workflow"}

    def test_due_is_a_scope_of_its_own(self, cli: Cli) -> None:
        with pytest.raises(SystemExit):
            main(["wait", "sales", "--due", "--any"])

    def test_an_event_wakes_it(self, cli: Cli) -> None:
        cli.store.load(CONFIG, by="test")

        def night() -> None:
            time.sleep(0.4)
            cli.store.open("sales", OpenRequest())
            time.sleep(0.2)
            cli.store.close("sales", CloseRequest(result="success"))

        worker = threading.Thread(target=night)
        worker.start()
        started = time.monotonic()
        cli("wait", "sales", "--recheck", "30s", "--timeout", "20s")
        worker.join()
        assert time.monotonic() - started < 5

    def test_it_outlives_a_restart_of_the_server(self, own_server: Any, capsys: pytest.CaptureFixture[str]) -> None:
        cli = Cli(own_server.url, capsys)

        def outage() -> None:
            time.sleep(0.5)
            own_server.kill()
            own_server.start()
            store = Store(open_client(own_server.url))
            store.open("sales", OpenRequest(config=CONFIG))
            store.close("sales", CloseRequest(result="success"))

        worker = threading.Thread(target=outage)
        worker.start()
        cli("wait", "sales", "--recheck", "1s", "--timeout", "30s")
        worker.join()

    def test_several_workflows(self, cli: Cli, sales: str) -> None:
        cli("wait", sales, "crm", "--timeout", "0.2s", code=124)
        assert "gave up waiting for sales, crm" in cli.said
        crm = cli.store.open("crm", OpenRequest(config=replace(CONFIG, name="crm"))).batch_id

        def night() -> None:
            time.sleep(0.4)
            cli.store.close("crm", CloseRequest(result="success"))

        worker = threading.Thread(target=night)
        worker.start()
        found = cli.json("wait", sales, "crm", "--recheck", "30s", "--timeout", "20s")
        worker.join()
        assert (found["state"], found["batches"]["crm"]) == ("done", crm)
        assert list(found["batches"]) == [sales, "crm"]
        assert found["codes"] == {sales: "succeeded", "crm": "succeeded"}

    def test_any_of_several_that_fails_ends_it_where_asked(self, cli: Cli, sales: str) -> None:
        cli.store.open("crm", OpenRequest(config=replace(CONFIG, name="crm")))
        cli.store.close("crm", CloseRequest(result="failed"))
        assert "crm: batch" in cli("wait", "crm", "erp", sales, "--on-failed", "fail", "--timeout", "5s", code=1)

    def test_over_rest_it_is_one(self, cli: Cli) -> None:
        assert main(["wait", "crm", "erp", "--api", "http://127.0.0.1:1"]) == 2

    def test_waitsy_is_the_originals_command(
        self, cli: Cli, sales: str, monkeypatch: pytest.MonkeyPatch, redis_url: str
    ) -> None:
        from batchy_provider.cli.main import waitsy

        monkeypatch.setenv("BATCHY_REDIS_URL", redis_url)
        monkeypatch.setattr(sys, "argv", ["waitsy", "-wf", "sales", "--timeout", "5s"])
        assert waitsy() == 0
