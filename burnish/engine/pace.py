"""Where the time of a run goes: into steps, or into what lies between them; and how long it will take.

A step lasts from the end of the one before it, or of what came after that (a log, an evaluation, a
checkpoint, samples), to its own end; so it includes reading its rows. No device is waited for: where
steps are queued, their durations even out over a few of them.
"""

from __future__ import annotations

import statistics
import time
from collections import deque
from collections.abc import Callable

RECENT = 50
"""Steps whose median duration says how long the others will take."""


class Pace:
    """The clock of a run. `now` gives seconds that never run backwards."""

    def __init__(self, now: Callable[[], float] = time.perf_counter) -> None:
        self._now = now
        self.begin(0, 0, 0)

    def begin(self, step: int, total: int, tokens: int, seconds: float = 0.0) -> None:
        """Training starts after `step` of `total` steps, `tokens` and `seconds` of an earlier part."""
        self.first_step = self.step = step
        self.total = total
        self.tokens_per_second: float | None = None
        self._start = self._mark = self._now()
        self._start -= seconds
        self._recent: deque[float] = deque(maxlen=RECENT)
        self._between = 0.0  # seconds between steps
        self._tokens = tokens
        self._since = 0.0  # seconds in steps since tokens were counted

    def stepped(self, step: int) -> None:
        """Step number `step` has ended."""
        duration = self._lap()
        self.step = step
        self._recent.append(duration)
        self._since += duration

    def resumed(self) -> None:
        """What lies between two steps has ended."""
        self._between += self._lap()

    def counted(self, tokens: int) -> None:
        """So many tokens were seen up to now: gives the rate since they were last counted."""
        if self._since > 0 and tokens > self._tokens:
            self.tokens_per_second = (tokens - self._tokens) / self._since
        self._tokens, self._since = tokens, 0.0

    def _lap(self) -> float:
        before, self._mark = self._mark, self._now()
        return self._mark - before

    @property
    def seconds(self) -> float:
        """Since training began."""
        return self._now() - self._start

    @property
    def step_seconds(self) -> float | None:
        """The median duration of the last steps: one slow step, or the first, changes nothing."""
        return statistics.median(self._recent) if self._recent else None

    @property
    def left(self) -> float | None:
        """Seconds until the end: steps at the median's pace, and what lies between them as it was so far."""
        if not self._recent:
            return None
        between = self._between / (self.step - self.first_step)
        return (self.total - self.step) * (statistics.median(self._recent) + between)
