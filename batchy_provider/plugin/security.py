# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Authenticate callers and check their permissions, with Airflow's own login and its permissions for DAGs.

A route takes `Reader`, `Editor` or another of these as a parameter; one that takes none is open to anyone, which
a test forbids.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity, DagDetails
from airflow.api_fastapi.core_api.security import GetUserDep
from fastapi import Depends, HTTPException, Path, Request

from batchy_provider.core.names import check_job_name, check_workflow_name
from batchy_provider.core.values import Actor

Method = Literal["GET", "POST", "PUT", "DELETE"]

CSRF_HEADER = "X-Batchy-Request"


@dataclass(frozen=True, slots=True)
class Caller:
    """The person or program that asks.

    :param user: as Airflow's auth manager has it.
    :param actor: the same, for the record.
    """

    user: Any
    actor: Actor

    def may(self, method: Method, workflow: str, entity: DagAccessEntity | None = None) -> bool:
        """Tell whether Airflow allows it for the DAG of a workflow."""
        return bool(
            get_auth_manager().is_authorized_dag(
                method=method, access_entity=entity, details=_details(workflow), user=self.user
            )
        )

    def must(self, method: Method, workflow: str, entity: DagAccessEntity | None = None) -> None:
        """
        Check a right.

        :raises HTTPException: 403, if Airflow does not allow it.
        """
        if not self.may(method, workflow, entity):
            what = {"GET": "read", "PUT": "edit", "POST": "create", "DELETE": "delete"}[method]
            more = "" if entity is None else f" ({entity.value.lower().replace('_', ' ')})"
            raise HTTPException(403, f"{self.actor.by} may not {what} the DAG {workflow!r}{more}")

    def readable(self, workflows: Collection[str]) -> set[str]:
        """Return those of some workflows that the caller may read."""
        return {name for name in workflows if self.may("GET", name)}

    def may_configure(self) -> bool:
        """
        Tell whether the caller may know paths and addresses here: Airflow's right to change its configuration.

        The right to read it is no measure: `SimpleAuthManager` gives it to every viewer.
        """
        return bool(get_auth_manager().is_authorized_configuration(method="POST", user=self.user))

    def may_upload(self) -> bool:
        """Tell whether the caller may bring code: Airflow's right to change its configuration."""
        return self.may_configure()


def _details(workflow: str) -> DagDetails:
    try:
        from airflow.models.dag import DagModel

        return DagDetails(id=workflow, team_name=DagModel.get_team_name(workflow))
    except (AttributeError, ImportError, TypeError):  # Airflow before it knew teams
        return DagDetails(id=workflow)


def has_bearer(request: Request) -> bool:
    """Tell whether a token came in the header, where no web page of others can put it."""
    return request.headers.get("Authorization", "").lower().startswith("bearer ")


def authenticated(request: Request, user: GetUserDep) -> Caller:
    """Return the caller; all that is known is that Airflow knows them."""
    source = "web" if not has_bearer(request) else "rest"
    address = request.client.host if request.client is not None else None
    caller = Caller(user, Actor(str(user.get_name()), source, address))
    request.state.batchy_caller = caller  # for the error handlers, which know the request alone
    return caller


def changing(request: Request, caller: Annotated[Caller, Depends(authenticated)]) -> Caller:
    """
    Return a caller who changes something.

    A browser sends Airflow's cookie along with what a page of others makes it ask, but never a header of ours.
    """
    if not has_bearer(request) and not request.headers.get(CSRF_HEADER):
        raise HTTPException(403, f"a change needs a bearer token, or the header {CSRF_HEADER}: 1 beside the cookie")
    return caller


def bearer_only(request: Request, user: GetUserDep) -> Caller:
    """Return the caller of a route that changes something by GET: never known by a cookie."""
    if not has_bearer(request):
        raise HTTPException(
            401, "this route takes a bearer token only, no cookie", headers={"WWW-Authenticate": "Bearer"}
        )
    return authenticated(request, user)


WorkflowName = Annotated[str, Path(description="Name of a workflow.", max_length=200)]
JobName = Annotated[str, Path(description="Name of a job.", max_length=200)]


def right(
    who: Callable[..., Caller], method: Method, entity: DagAccessEntity | None = None
) -> Callable[[str, Caller], Caller]:
    """Return a dependency that checks a right for the workflow in the path."""

    def check(workflow: WorkflowName, caller: Caller = Depends(who)) -> Caller:  # noqa: B008 - `who` is no global
        caller.must(method, check_workflow_name(workflow), entity)
        return caller

    return check


def checked_job(job: JobName) -> str:
    """Return a job's name that can be one."""
    return check_job_name(job)


AnyCaller = Annotated[Caller, Depends(authenticated)]
Reader = Annotated[Caller, Depends(right(authenticated, "GET"))]
Editor = Annotated[Caller, Depends(right(changing, "PUT"))]
LogReader = Annotated[Caller, Depends(right(authenticated, "GET", DagAccessEntity.TASK_LOGS))]
CodeReader = Annotated[Caller, Depends(right(authenticated, "GET", DagAccessEntity.CODE))]
BearerReader = Annotated[Caller, Depends(right(bearer_only, "GET"))]
BearerEditor = Annotated[Caller, Depends(right(bearer_only, "PUT"))]
Job = Annotated[str, Depends(checked_job)]
