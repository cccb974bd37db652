# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Forecast how long the next run of a workflow takes: a distribution, from how long its past runs took.

Each past run is moved to the circumstances of the next one: the length of its window, its weekday, and the growth of
its data, each only as far as the history shows that it matters. The latest runs count most. All is robust: one run that
took very long changes nothing but the tail.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from batchy_provider.plan.run_history import RunHistory

if TYPE_CHECKING:
    import numpy as np

    from batchy_provider.plan.run_history import Numbers

MIN_RUNS = 3
"""With fewer past runs, how long the next one takes is unknown."""

_DAY = 86_400.0
_SHORTEST = 0.01
_HALF_LIFE = 8.0
"""After so many runs, one counts half as much."""
_OTHER_LENGTH = 0.4
"""Two windows have different lengths if the logarithms of these differ by so much: by half."""
_MIN_OTHERS = 2
_MIN_OF_WEEKDAY = 3
_NORMAL = 1.4826
"""A standard deviation is so many times the median deviation, if values are normally distributed."""


@dataclass(frozen=True, slots=True)
class DurationModel:
    """The distribution of how long the next run takes.

    :param logs: logarithms of how long past runs took, oldest first.
    :param starts: when they began, Unix seconds.
    :param lengths: logarithms of the lengths of their windows.
    :param by_window: how the length of the window matters: twice the window takes ``2 ** by_window`` times as long; 0
        if the history does not show that it matters.
    :param growth: by how much the logarithm grows in a day.
    :param weekdays: weekday → by how much its runs differ.
    :param spread: of the logarithms, as a standard deviation, after all of these.
    """

    logs: Numbers
    starts: Numbers
    lengths: Numbers
    by_window: float
    growth: float
    weekdays: Numbers
    spread: float

    @classmethod
    def of(cls, history: RunHistory) -> DurationModel | None:
        """Return the model of a workflow; None if too few runs are known."""
        import numpy as np

        if len(history.seconds) < MIN_RUNS:
            return None
        logs = np.log(np.maximum(history.seconds, _SHORTEST))
        lengths = np.log(np.maximum(history.windows, 1.0))
        by_window = _by_window(logs, lengths)
        rest = logs - by_window * lengths
        weekdays = _weekday_effects(rest, history.starts)
        rest = rest - weekdays[_weekday(history.starts)]
        growth = _growth(rest, history.starts)
        rest = rest - growth * (history.starts / _DAY)
        spread = float(np.median(np.abs(rest - np.median(rest)))) * _NORMAL
        return cls(logs, history.starts, lengths, by_window, growth, weekdays, spread)

    def draws(
        self, rng: np.random.Generator, count: int, *, start: float, window_seconds: float | None = None
    ) -> Numbers:
        """Return draws of how long a run takes, in seconds, in random order.

        :param start: when it begins, Unix seconds.
        :param window_seconds: length of its window; None for the usual one.
        """
        import numpy as np

        logs = self.logs
        if self.by_window:
            length = np.median(self.lengths) if window_seconds is None else np.log(max(window_seconds, 1.0))
            logs = logs + self.by_window * (length - self.lengths)
        days = np.minimum((start - self.starts) / _DAY, (start - self.starts[0]) / _DAY)
        logs = logs + self.growth * days + self.weekdays[_weekday(start)] - self.weekdays[_weekday(self.starts)]
        order = np.argsort(logs, kind="stable")
        age = np.arange(len(logs) - 1, -1, -1)
        weights = np.cumsum((0.5 ** (age / _HALF_LIFE))[order])
        # Between the past runs, and somewhat beyond the outermost: few runs show little of the tail.
        own = weights.copy()
        own[1:] -= weights[:-1]
        places = weights / weights[-1] - own / weights[-1] / 2
        shares = (np.arange(count) + rng.random(count)) / count
        found = np.interp(shares, places, logs[order])
        found = found + rng.standard_normal(count) * self.spread * (0.25 + 1.2 / np.sqrt(len(logs)))
        return rng.permutation(np.exp(found))

    def remaining(self, rng: np.random.Generator, draws: Numbers, elapsed: float) -> Numbers:
        """Return how much longer a run takes that has not ended after some time.

        :param draws: of how long it takes as a whole.
        :param elapsed: how long it has run so far, in seconds.
        """
        import numpy as np

        longer = draws[draws > elapsed]
        if len(longer) >= len(draws) // 20:
            return rng.choice(longer, size=len(draws)) - elapsed
        # It takes longer than nearly all runs before. What is left grows with what has passed.
        return elapsed * np.expm1(np.abs(rng.standard_normal(len(draws))) * max(self.spread, 0.2))


def _weekday(starts: float | Numbers) -> np.ndarray[tuple[int, ...], np.dtype[np.intp]]:
    import numpy as np

    return (np.floor_divide(starts, _DAY).astype(np.intp) + 3) % 7  # 1970-01-01 was a Thursday


def _slopes(values: Numbers, at: Numbers, least: float) -> Numbers:
    """Return the slope between each two points that are so far apart."""
    import numpy as np

    rows, columns = np.triu_indices(len(at), 1)
    apart = at[columns] - at[rows]
    far = np.abs(apart) >= least
    found: Numbers = (values[columns] - values[rows])[far] / apart[far]
    return found


def _by_window(logs: Numbers, lengths: Numbers) -> float:
    """Return how the length of the window matters, by the runs whose windows were longer or shorter than usual."""
    import numpy as np

    if np.sum(np.abs(lengths - np.median(lengths)) >= _OTHER_LENGTH) < _MIN_OTHERS:
        return 0.0
    slopes = _slopes(logs, lengths, _OTHER_LENGTH)
    if np.mean(slopes > 0.0) < 0.75:
        return 0.0
    return float(np.clip(np.median(slopes), 0.0, 1.0))


def _growth(rest: Numbers, starts: Numbers) -> float:
    """Return by how much the logarithm grows in a day, as far as it is more than chance."""
    import numpy as np

    if len(rest) < 8 or starts[-1] - starts[0] < _DAY:
        return 0.0
    slopes = _slopes(rest, starts / _DAY, 1e-3)
    if not len(slopes):
        return 0.0
    agreement = abs(float(np.mean(slopes > 0)) - 0.5) * 2  # Kendall's tau
    chance = 1.5 * np.sqrt(2 * (2 * len(rest) + 5) / (9 * len(rest) * (len(rest) - 1)))
    return float(np.median(slopes)) * float(np.clip((agreement - chance) / max(chance, 1e-9), 0.0, 1.0))


def _weekday_effects(rest: Numbers, starts: Numbers) -> Numbers:
    """Return weekday → by how much its runs differ from the others, as far as it is more than chance."""
    import numpy as np

    effects = np.zeros(7)
    days = _weekday(starts)
    present = np.unique(days)
    if len(present) < 2:
        return effects
    middle = np.median(rest)
    medians = np.full(7, middle)
    for day in present:
        medians[day] = np.median(rest[days == day])
    spread = float(np.median(np.abs(rest - medians[days]))) * _NORMAL
    for day in present:
        count = int(np.sum(days == day))
        effect = float(medians[day] - middle)
        if count < _MIN_OF_WEEKDAY or effect == 0.0:
            continue
        error = 1.6 * spread / np.sqrt(count)
        effects[day] = effect * max(0.0, 1 - error / abs(effect))
    return effects
