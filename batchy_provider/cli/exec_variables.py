# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""What the command of ``batchy exec`` gets in its environment: the variables of a job's script."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from batchy_provider.bundles.script_context import ScriptContext, write_params_file
from batchy_provider.core.job_state import JobState

if TYPE_CHECKING:
    from batchy_provider.core.values import Batch


def exec_variables(batch: Batch, job: str | None, left_out: Collection[str], path: Path) -> dict[str, str]:
    """Return the variables, and write the file behind BATCHY_PARAMS, which also has window and params of each job.

    :param job: the job whose window and params the command gets. None: the only job that took part; if there are
        several, the window of the whole batch, without a job.
    :param left_out: jobs that take no part in the batch.
    :param path: the file to write.
    """
    took_part = {name: fields for name, fields in batch.jobs.items() if name not in left_out}
    if job is None and len(took_part) == 1:
        (job,) = took_part
    fields = JobState(batch.jobs[job]) if job is not None else None
    script_context = ScriptContext(
        workflow=batch.workflow,
        job=job or "",
        batch_id=batch.batch_id,
        from_date=batch.from_date if fields is None else fields.from_date,
        to_date=batch.to_date if fields is None else fields.loaded_to,
        params={} if fields is None else fields.params,
    )
    write_params_file(script_context, path)
    content = json.loads(path.read_text(encoding="utf-8", errors="surrogatepass"))
    content["jobs"] = {
        name: {"from_date": each.get("from_date"), "to_date": each.get("to_date"), "params": JobState(each).params}
        for name, each in took_part.items()
    }
    path.write_bytes(json.dumps(content, ensure_ascii=False, indent=1).encode("utf-8", "surrogatepass") + b"\n")
    return {**script_context.variables(), "BATCHY_PARAMS": str(path)}
