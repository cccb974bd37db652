# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Authenticate callers and check their permissions, with Airflow's own login and its permissions for DAGs.

A route takes `WorkflowReader`, `WorkflowEditor` or another type from the end of this file as a parameter. A route
without such a parameter would be open to everyone; a test makes sure that there is none.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Literal

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity, DagDetails
from airflow.api_fastapi.core_api.security import GetUserDep
from fastapi import Depends, HTTPException, Path, Request

from batchy_provider.core.names import check_job_name, check_workflow_name
from batchy_provider.core.values import Actor

AccessMethod = Literal["GET", "POST", "PUT", "DELETE"]

CSRF_HEADER = "X-Batchy-Request"
_MAX_IDS_IN_QUERY = 500
"""With more ids, a query that names them costs more than reading the rows of all DAGs with a team."""


@dataclass(frozen=True, slots=True)
class Caller:
    """The person or program that sends a request.

    :param user: the user object of Airflow's auth manager.
    :param actor: the same user, for the audit log.
    """

    user: Any
    actor: Actor

    def may(
        self,
        method: AccessMethod,
        workflow: str,
        entity: DagAccessEntity | None = None,
        *,
        teams: Mapping[str, str | None] | None = None,
    ) -> bool:
        """Tell whether Airflow allows a caller to do something with the DAG of a workflow.

        :param method: ``GET`` to read, ``PUT`` to edit, ``POST`` to create, ``DELETE`` to delete.
        :param entity: a part of the DAG with a permission of its own, such as its code or its task logs.
        :param teams: workflow → its team, of those whose teams are known. The others are asked for.
        """
        team = teams[workflow] if teams is not None and workflow in teams else _team_of(workflow)
        try:
            details = DagDetails(id=workflow, team_name=team)
        except TypeError:  # this version of Airflow has no teams
            details = DagDetails(id=workflow)
        return bool(
            get_auth_manager().is_authorized_dag(method=method, access_entity=entity, details=details, user=self.user)
        )

    def must(self, method: AccessMethod, workflow: str, entity: DagAccessEntity | None = None) -> None:
        """Require a permission; the parameters are those of `may`.

        :raises HTTPException: 403, if Airflow does not allow it.
        """
        if not self.may(method, workflow, entity):
            what = {"GET": "read", "PUT": "edit", "POST": "create", "DELETE": "delete"}[method]
            more = "" if entity is None else f" ({entity.value.lower().replace('_', ' ')})"
            raise HTTPException(403, f"{self.actor.by} may not {what} the DAG {workflow!r}{more}")

    def may_fill(self, workflow: str) -> bool:
        """Tell whether the caller may load data of a workflow again: edit its DAG, and create runs of it."""
        return self.may("PUT", workflow) and self.may("POST", workflow, DagAccessEntity.RUN)

    def sees_output(self, workflows: Collection[str]) -> Callable[[str], bool]:
        """Return what tells of which of some workflows the caller may read what their scripts write.

        Its first call asks for the teams of all of them at once. Use it within one request.
        """
        teams = cache(lambda: _teams_of(workflows))
        return lambda name: self.may("GET", name, DagAccessEntity.TASK_LOGS, teams=teams())

    def readable(self, workflows: Collection[str]) -> set[str]:
        """Return the workflows that the caller may read."""
        return set(self.permitted("GET", workflows))

    def permitted(self, method: AccessMethod, workflows: Collection[str]) -> list[str]:
        """Return those of some workflows with which Airflow allows the caller to do something.

        Asks for the teams of all of them at once.

        :param method: as in `may`.
        """
        teams = _teams_of(workflows)
        return [name for name in workflows if self.may(method, name, teams=teams)]

    def may_configure(self) -> bool:
        """Tell whether the caller may change Airflow's configuration, and so may see paths and addresses.

        The permission to read the configuration is too weak: `SimpleAuthManager` gives it to every viewer.
        """
        return bool(get_auth_manager().is_authorized_configuration(method="POST", user=self.user))

    def may_upload(self) -> bool:
        """Tell whether the caller may upload code: those who may change Airflow's configuration."""
        return self.may_configure()


def _team_of(workflow: str) -> str | None:
    from airflow.models.dag import DagModel

    try:
        team: str | None = DagModel.get_team_name(workflow)
    except AttributeError:  # this version of Airflow has no teams
        return None
    return team


def _teams_of(workflows: Collection[str]) -> dict[str, str | None]:
    """Return the team of each workflow, by one query."""
    found: dict[str, str | None] = dict.fromkeys(workflows)
    try:
        from airflow.models.dag import DagModel
        from airflow.models.dagbundle import DagBundleModel
        from airflow.models.team import Team

        teams = DagBundleModel.teams
    except (AttributeError, ImportError):  # this version of Airflow has no teams
        return found
    from airflow.utils.session import create_session
    from sqlalchemy import select

    query = select(DagModel.dag_id, Team.name).select_from(DagBundleModel).join(teams)
    query = query.join(DagModel, DagModel.bundle_name == DagBundleModel.name)
    if len(found) < _MAX_IDS_IN_QUERY:
        query = query.where(DagModel.dag_id.in_(found))
    with create_session() as session:
        for dag_id, team in session.execute(query):
            if dag_id in found:
                found[dag_id] = found[dag_id] or team
    return found


def has_bearer(request: Request) -> bool:
    """Tell whether the request has a token in its header. A page of another site cannot put one there."""
    return request.headers.get("Authorization", "").lower().startswith("bearer ")


def authenticated(request: Request, user: GetUserDep) -> Caller:
    """Return the caller after authentication. Permissions are not checked yet."""
    source = "web" if not has_bearer(request) else "rest"
    address = request.client.host if request.client is not None else None
    caller = Caller(user, Actor(str(user.get_name()), source, address))
    request.state.batchy_caller = caller  # error handlers get nothing but the request
    return caller


def changing(request: Request, caller: Annotated[Caller, Depends(authenticated)]) -> Caller:
    """Return the caller of a route that changes something. This protects against cross-site request forgery.

    A page of another site can make a browser send a request with Airflow's cookie, but not with this header.
    """
    if not has_bearer(request) and not request.headers.get(CSRF_HEADER):
        raise HTTPException(
            403, f"a change needs a bearer token, or the header {CSRF_HEADER}: 1 in addition to the cookie"
        )
    return caller


def bearer_only(request: Request, user: GetUserDep) -> Caller:
    """Return the caller of a route that changes something by GET. A cookie is not accepted: see `changing`."""
    if not has_bearer(request):
        raise HTTPException(
            401, "this route accepts a bearer token only, no cookie", headers={"WWW-Authenticate": "Bearer"}
        )
    return authenticated(request, user)


WorkflowName = Annotated[str, Path(description="Name of a workflow.", max_length=200)]
JobName = Annotated[str, Path(description="Name of a job.", max_length=200)]


def permission(
    who: Callable[..., Caller], method: AccessMethod, entity: DagAccessEntity | None = None
) -> Callable[[str, Caller], Caller]:
    """Return a FastAPI dependency that requires a permission for the workflow in the path.

    :param who: the dependency that authenticates the caller.
    """

    def check(workflow: WorkflowName, caller: Caller = Depends(who)) -> Caller:  # noqa: B008 - how FastAPI works
        caller.must(method, check_workflow_name(workflow), entity)
        return caller

    return check


def checked_job(job: JobName) -> str:
    """Return the name of a job, if it is valid."""
    return check_job_name(job)


def configurator(caller: Annotated[Caller, Depends(changing)]) -> Caller:
    """Return the caller of a route that moves whole workflows: only those who may change Airflow's configuration."""
    if not caller.may_configure():
        raise HTTPException(
            403,
            f"{caller.actor.by} may not export or import: this needs the permission to change Airflow's configuration",
        )
    return caller


ChangingCaller = Annotated[Caller, Depends(changing)]
AnyCaller = Annotated[Caller, Depends(authenticated)]
WorkflowReader = Annotated[Caller, Depends(permission(authenticated, "GET"))]
WorkflowEditor = Annotated[Caller, Depends(permission(changing, "PUT"))]
WorkflowRemover = Annotated[Caller, Depends(permission(changing, "DELETE"))]
Configurator = Annotated[Caller, Depends(configurator)]
LogReader = Annotated[Caller, Depends(permission(authenticated, "GET", DagAccessEntity.TASK_LOGS))]
CodeReader = Annotated[Caller, Depends(permission(authenticated, "GET", DagAccessEntity.CODE))]
BearerReader = Annotated[Caller, Depends(permission(bearer_only, "GET"))]
BearerEditor = Annotated[Caller, Depends(permission(bearer_only, "PUT"))]
CheckedJobName = Annotated[str, Depends(checked_job)]
