"""Decides how many calls at once and how many rows per page a WHMCS gets, by how fast it answers. Pure."""

from dataclasses import dataclass, field
from typing import Final

_START_LIMIT, _MAX_LIMIT = 2, 8
_MIN_PAGE, _START_PAGE, _MAX_PAGE = 1, 250, 1_000
_LATE_FACTOR: Final = 1.5
_NOISE_SECONDS: Final = 0.05
_QUICK_SECONDS: Final = 1.0
_LATE_ROUNDS_TO_HALVE, _ON_TIME_ROUNDS_TO_GROW = 2, 10
_BUSY_SHARE: Final = 0.15


@dataclass(slots=True)
class Politeness:
    """The limits for one WHMCS address: `limit` calls at once (2 at the start, 1 to 8), and rows per page for each action.

    `page_size` is the size of an action's first page.
    """

    limit: int = _START_LIMIT
    page_size: int = _START_PAGE
    _sizes: dict[str, int] = field(default_factory=dict)
    _fastest: dict[tuple[str, int], float] = field(default_factory=dict)
    _late: int = 0
    _on_time: int = 0
    _on_time_since: tuple[float, float] = (0.0, 0.0)

    def size_of(self, action: str) -> int:
        """Return how many rows to ask for in one page of an action."""
        return self._sizes.get(action, self.page_size)

    def answered(self, action: str, size: int, seconds: float, *, now: float, worked: float) -> None:
        """Adapt both limits to an answer to a call for `size` rows, which took `seconds`.

        `now` is the time of a clock and `worked` the CPU time of this process, both in seconds. An answer is late when it took more than
        1.5 times as long as the fastest one of the same action and size. One round is `limit` answers.
        """
        # Longer pages mean fewer calls, so they suit a busy process as well.
        if size == self.size_of(action) and seconds < _QUICK_SECONDS:
            self._sizes[action] = min(_MAX_PAGE, size * 2)
        if self._is_late(action, size, seconds):
            self._late, self._on_time = self._late + 1, 0
        else:
            self._late, self._on_time = 0, self._on_time + 1
        if self._on_time == 1:
            self._on_time_since = now, worked
        # One late answer may be a slow page. Two rounds of them mean that the calls wait for each other in WHMCS.
        if self._late >= _LATE_ROUNDS_TO_HALVE * self.limit:
            self._set_limit(self.limit // 2)
        elif self._on_time > _ON_TIME_ROUNDS_TO_GROW * self.limit:
            self._grow(is_idle=self._was_idle(now, worked))

    def refused(self, action: str, *, is_about_rows: bool) -> None:
        """Halve the calls at once after a 429, a 5xx or a timeout; halve the action's pages as well if smaller ones may help."""
        self._set_limit(self.limit // 2)
        if is_about_rows:
            self._sizes[action] = max(_MIN_PAGE, self.size_of(action) // 2)

    def restore(self, action: str, size: int) -> None:
        """Set the page size of an action again, because a single row was the reason why its pages failed."""
        self._sizes[action] = size

    def _is_late(self, action: str, size: int, seconds: float) -> bool:
        key = (action, size)
        fastest = self._fastest[key] = min(seconds, self._fastest.get(key, seconds))
        return seconds > fastest * _LATE_FACTOR + _NOISE_SECONDS

    def _was_idle(self, now: float, worked: float) -> bool:
        """Return whether this process mostly waited while the answers came on time.

        A busy process is the bottleneck itself: more calls at once would load the WHMCS and make the run no faster.
        """
        since, worked_before = self._on_time_since
        return worked - worked_before < _BUSY_SHARE * (now - since)

    def _grow(self, *, is_idle: bool) -> None:
        """Raise the limit after ten on-time rounds: at once up to its start value, above that only for an idle process."""
        self._set_limit(self.limit + 1 if is_idle or self.limit < _START_LIMIT else self.limit)

    def _set_limit(self, limit: int) -> None:
        """Set the limit and count rounds anew, because answers before the change say nothing about the new limit."""
        self.limit = max(1, min(_MAX_LIMIT, limit))
        self._late = self._on_time = 0
