# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The name of an Airflow to which nobody has given one: made once, and kept in its own database.

It is the Airflow variable `VARIABLE`. The first program of an Airflow that has its database creates it: scheduler,
triggerer or DAG processor. Its environment then has the name for all processes that it starts, so a task of a
LocalExecutor asks for nothing. Only a task on another worker asks the API server for the variable, once.
"""

from __future__ import annotations

import os
import uuid
from functools import cache
from typing import TYPE_CHECKING, Any

from batchy_provider.core.holders import UNNAMED

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

VARIABLE = "batchy_airflow_identity"
_ENVIRONMENT = "_BATCHY_AIRFLOW_IDENTITY"
_DESCRIPTION = (
    "Tells the runs of this Airflow from those of others on the same Redis. Do not change it, and do not copy it to "
    "another Airflow. It is not used if [batchy] deployment is set."
)


def publish_identity() -> None:
    """Give this program, and all that it starts, the identity of its Airflow. Create the identity if there is none.

    For programs that have Airflow's database.
    """
    from airflow.utils.session import create_session

    with create_session(scoped=False) as session:
        os.environ[_ENVIRONMENT] = stored_identity(session) or _create(session)


def stored_identity(session: Session) -> str | None:
    """Return the identity of the Airflow that has this database; None if it has none yet."""
    from airflow.models.variable import Variable
    from sqlalchemy import select

    found = session.scalar(select(Variable).where(Variable.key == VARIABLE))
    return (found.val or None) if found is not None else None


def identity_of_task() -> str | None:
    """Return the identity of the Airflow whose task this process runs; None if it has none, or if it runs no task."""
    if known := os.environ.get(_ENVIRONMENT):
        return known
    from batchy_provider.compat import runs_task

    return _asked() if runs_task() else None


@cache
def _asked() -> str | None:
    from airflow.sdk import Variable

    # An error of the API server fails the task, which is tried again: without its name, the run would lack its batch.
    found: Any = Variable.get(VARIABLE, default=None)
    return str(found) if found else None


def _create(session: Session) -> str:
    """Store a new identity. Another program may do so at the same moment: the first one counts."""
    from airflow.models.variable import Variable
    from sqlalchemy import insert
    from sqlalchemy.exc import IntegrityError

    new = f"{UNNAMED}{uuid.uuid4().hex[:12]}"
    # It is no secret, and is stored as it is, so that programs with another Fernet key can read it.
    row = {"key": VARIABLE, "val": new, "description": _DESCRIPTION, "is_encrypted": False}
    try:
        session.execute(insert(Variable.__table__).values(**row))
        session.commit()
    except IntegrityError:
        session.rollback()
        return stored_identity(session) or new
    return new
