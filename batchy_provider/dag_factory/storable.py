# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Check that Airflow can store a DAG, by serializing it as Airflow does.

A DAG that Airflow cannot send from the parsing process to the storing process, or cannot write to its database, ends
one of these processes. Then Airflow stores no DAG of any file.
"""

from __future__ import annotations

import json
import re
import time
from typing import TYPE_CHECKING

from batchy_provider.config.workflow import Workflow
from batchy_provider.dag_factory.build_record import MIN_CACHED, BuildRecord

if TYPE_CHECKING:
    from airflow.sdk import DAG

MAX_SECONDS = 5.0
"""CPU seconds per parse for new DAGs that contain only scripts. Without this limit, an update of thousands of
workflows could take longer than Airflow allows for a parse, and all DAGs would disappear."""

_MAX_PATH = 2000
_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")


def storage_problem(dag: DAG) -> str | None:
    """Return why Airflow could not store a DAG, or None if it can.

    :param dag: a complete DAG; it is not changed.
    """
    import msgspec

    from batchy_provider.compat import serialize_dag

    try:
        dag.validate()
        data = serialize_dag(dag)
        text = json.dumps(data, allow_nan=False, ensure_ascii=False)  # the database
        text.encode()
        msgspec.msgpack.encode(data)  # sent to the storing process, which takes no numbers above 64 bits
    except (Exception, SystemExit) as error:
        return f"{type(error).__name__}: {error}"
    if _NUL.search(text):
        return "a text holds a NUL character, which PostgreSQL cannot store"
    if len(str(dag.fileloc)) > _MAX_PATH:
        return f"the path of the file has more than {_MAX_PATH} characters"
    return None


class StorageCheck:
    """Check the DAGs of one folder in one parse, and skip those that passed before and have not changed.

    Each parse is a separate process, so the record of the parse before tells which ones passed. A DAG that uses other
    classes is serialized in each parse, because nothing shows when their behavior changes.

    :param record: of the parse before; the workflows that pass are added to it.
    """

    def __init__(self, record: BuildRecord) -> None:
        self._record = record
        self._seconds = 0.0

    def problem(self, key: str | None, workflow: Workflow, dag: DAG) -> str | None:
        """Return why Airflow could not store the DAG of a workflow, or None.

        :param key: of the workflow's file, see `CachingReader.key`.
        """
        if len(self._record) >= MIN_CACHED and self._record.can_store(key):
            self._record.add(key, workflow)
            return None
        # Made of checked values and this package's operators; the next parse checks it.
        if self._seconds > MAX_SECONDS and not workflow.uses_classes:
            return None
        start = time.process_time()
        found = storage_problem(dag)
        self._seconds += time.process_time() - start
        if found is None:
            self._record.add(key, workflow)
        return found
