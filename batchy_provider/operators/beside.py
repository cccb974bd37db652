# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Ask Redis while Airflow's API answers, so that a task waits for the slower one of the two, and not for both."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


def answer_beside(question: Callable[[], T], work: Callable[[], object]) -> T:
    """Return the answer to a question, which a thread asks while this thread does other work.

    Airflow's API can be asked by this thread alone: before 3.2, two threads would read each other's answers.

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

    # If the task is stopped meanwhile, its process ends without the thread.
    threading.Thread(target=ask, name="batchy-question", daemon=True).start()
    work()
    return answer.result()
