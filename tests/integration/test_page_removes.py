# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The page in a real browser removes a workflow that has no file any more, and no other one."""

from __future__ import annotations

from collections.abc import Callable

import redis
from browser import Reader
from nights import Nights
from playwright.sync_api import expect

from batchy_provider.core.values import CloseRequest, OpenRequest, WorkflowConfig
from batchy_provider.state.connections import open_client
from batchy_provider.state.store import Store


def test_a_workflow_without_a_file_is_removed_by_a_person(airflow: Nights, reader: Callable[..., Reader]) -> None:
    with redis.Redis.from_url(airflow.stack.redis_url) as client:
        store = Store(open_client(airflow.stack.redis_url))
        config = WorkflowConfig(name="page_gone", jobs={"load": {}})
        store.open("page_gone", OpenRequest(config=config))
        page = reader().alone("workflows/page_gone")
        expect(page.get_by_role("button", name="Open by hand…")).to_be_visible()
        expect(page.get_by_role("button", name="Remove…")).to_have_count(0)  # a batch is open
        store.close("page_gone", CloseRequest(result="success"))
        page.get_by_role("button", name="Remove…").click()
        dialog = page.get_by_role("dialog")
        expect(dialog.get_by_role("button", name="Cancel")).to_be_focused()
        expect(dialog).to_contain_text("nothing can bring them back")
        dialog.get_by_label("type the workflow's name").fill("page_gone")
        dialog.get_by_role("button", name="Remove").click()
        expect(dialog).to_be_hidden()
        expect(page.get_by_text("Workflow page_gone is removed.")).to_be_visible()
        assert list(client.scan_iter("page_gone*")) == []
        store.backend.client.close()
