# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Ask Redis while Airflow's API answers, so that a task waits for the slower one of the two, and not for both."""

from __future__ import annotations

import contextvars
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")

FRESH_SECONDS = 5.0
"""How long counts what was read before the task. Afterwards it is read again: somebody may have changed it."""


def answer_beside(question: Callable[[], T], work: Callable[[], object]) -> T:
    """Return the answer to a question, which a thread asks while this thread does other work.

    Airflow's API can be asked by this thread alone: before 3.2, two threads would read each other's answers.

    If the work takes longer than `FRESH_SECONDS`, for example since Airflow's API is restarted, the question is asked
    again after it: a decision must not depend on an old answer.

    :param question: what it raises is raised here, after the work.
    :param work: if it raises, nothing waits for the answer.
    """
    answer: Future[T] = Future()
    context = contextvars.copy_context()

    def ask() -> None:
        try:
            answer.set_result(context.run(question))
        except BaseException as error:
            answer.set_exception(error)

    asked = time.monotonic()
    try:
        # If the task is stopped meanwhile, its process ends without the thread.
        threading.Thread(target=ask, name="batchy-question", daemon=True).start()
    except RuntimeError:  # the container may have no more threads; then this thread asks one after the other
        ask()
    work()
    found = answer.result()
    return found if time.monotonic() - asked < FRESH_SECONDS else question()
