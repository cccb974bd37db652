# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""How long tests with a free number of repetitions look for errors: one factor per profile, set in this file alone."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

FACTORS = {"quick": 0.4, "ci": 1.0, "thorough": 10.0}
"""Profile of hypothesis → factor. ``quick`` is for each commit, ``thorough`` for a night's run."""

PROFILE = os.environ.get("HYPOTHESIS_PROFILE", "quick")


def scaled(number: int) -> int:
    """Return how often to repeat something in this run.

    :param number: repetitions in the profile ``ci``.
    """
    return max(1, round(number * FACTORS[PROFILE]))


def load_profile() -> None:
    """Make the profile the default of all tests that set nothing else."""
    if PROFILE not in FACTORS:
        raise ValueError(f"HYPOTHESIS_PROFILE={PROFILE}: expected one of {', '.join(FACTORS)}")
    settings.register_profile(
        PROFILE,
        max_examples=scaled(50),
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
        print_blob=PROFILE != "quick",
    )
    settings.load_profile(PROFILE)
