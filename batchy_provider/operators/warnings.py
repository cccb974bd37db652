# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Evaluate the deadlines of workflows, and call notifiers when a miss becomes likely and when the danger is over."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowException
from airflow.sdk import BaseNotifier, BaseOperator

from batchy_provider.compat import is_dag_paused
from batchy_provider.exceptions import BatchyError

if TYPE_CHECKING:
    from airflow.sdk import Context

    from batchy_provider.config.catalog import Catalog
    from batchy_provider.core.deadline_warnings import NotifierCall
    from batchy_provider.services.composition import Services
    from batchy_provider.services.warning_service import Evaluation


class DeadlineWarningsOperator(BaseOperator):
    """Warn about deadlines that a workflow will probably miss, as ``deadline.warn`` of its file says.

    Each run evaluates all workflows that ask for warnings. If a miss becomes likely, it calls the notifiers of the
    file, and once more when the danger is over. The state is in Redis. So several of these tasks, in one Airflow or in
    several, give each warning once. If a task is killed, the next run goes on where it was.

    The task fails, after all other work, if a notifier fails or a workflow cannot be evaluated. The next run calls that
    notifier again.

    :param cfg_folder: the folder of the workflow files.
    """

    ui_color = "#fbe9d0"

    def __init__(self, *, cfg_folder: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.cfg_folder = cfg_folder

    def execute(self, context: Context) -> None:
        """Evaluate, and deliver what is due."""
        from batchy_provider.config.catalog import Catalog
        from batchy_provider.hooks.deployment import deployment_name

        # The files are read once, whatever the number of connections.
        catalog = Catalog(Path(self.cfg_folder))
        ti = context["ti"]
        scope = f"{deployment_name() or ''}/{ti.dag_id}"
        evaluator = f"{scope}/{ti.run_id}/{uuid.uuid4()}"
        errors: list[str] = []
        for connection in _connections(catalog):
            try:
                with self._services(connection, catalog) as services:
                    found = services.warnings.evaluate(
                        evaluator=evaluator,
                        scope=scope,
                        connection=connection,
                        is_paused=lambda workflow: is_dag_paused(ti, workflow),
                    )
                    errors += [f"{name}: {error}" for name, error in found.errors.items()]
                    self._report(found)
                    errors += self._deliver(services, found, evaluator, context)
            except BatchyError as error:
                errors.append(f"connection {connection or 'by default'}: {error}")
        if errors:
            raise AirflowException("; ".join(errors))

    @contextmanager
    def _services(self, connection: str | None, catalog: Catalog) -> Iterator[Services]:
        from batchy_provider.hooks.batchy import BatchyHook
        from batchy_provider.hooks.deployment import archive_files, is_archive_on, open_path, result_store
        from batchy_provider.services.composition import Services

        services = Services(
            store=BatchyHook(connection).get_store,
            cfg=Path(self.cfg_folder),
            results=result_store,
            archive=archive_files if is_archive_on() else None,
            open_path=open_path,
        )
        services.catalog = catalog
        try:
            yield services
        finally:
            services.close()

    def _report(self, found: Evaluation) -> None:
        from batchy_provider.observability.metrics import evaluated

        for name, outlooks in found.outlooks.items():
            evaluated(name, outlooks)
            for each in outlooks:
                chance = "unknown" if each.chance is None else f"{each.chance:.0%}"
                self.log.debug("%s: deadline %s, probability of a miss %s", name, each.deadline, chance)
        known = sum(any(each.chance is not None for each in outlooks) for outlooks in found.outlooks.values())
        self.log.info("%d workflows evaluated, the probability is known for %d", len(found.outlooks), known)

    def _deliver(self, services: Services, found: Evaluation, evaluator: str, context: Context) -> list[str]:
        from batchy_provider.observability.metrics import warned

        errors: list[str] = []
        for delivery in found.deliveries:
            self.log.info("%s: notifying of %s: %s", delivery.workflow, delivery.kind, delivery.warning.text)
            failed = services.warnings.deliver(
                delivery, evaluator, lambda notifier, warning: call_notifier(notifier, warning, context)
            )
            warned(delivery.workflow, delivery.kind.value, "failed" if failed else "success")
            for error in failed:
                self.log.error("%s", error)
            errors += failed
        return errors


def _connections(catalog: Catalog) -> list[str | None]:
    """Return the connections that workflows with warnings name; None for the default one, which is always there."""
    models = [each.model for each in catalog.read().workflows.values() if each.model is not None]
    named = {each.connection for each in models if each.connection and each.deadline and each.deadline.warn}
    return [None, *sorted(named)]


def call_notifier(notifier: NotifierCall, warning: Mapping[str, Any], context: Context) -> None:
    """Call a notifier with the context of this task, and ``warning`` in it.

    Airflow's own call logs an error of a notifier and goes on. Here the error is raised, so that nothing is lost.
    """
    module, _, name = notifier.notifier.rpartition(".")
    made = getattr(import_module(module), name)(**notifier.args)
    fields: Sequence[str] = made.template_fields
    content: Any = {**context, **{field: getattr(made, field) for field in fields}, "warning": dict(warning)}
    made.render_template_fields(content)
    if type(made).notify is not BaseNotifier.notify:
        made.notify(content)
    else:
        made.context = content
        asyncio.run(made.async_notify(content))
