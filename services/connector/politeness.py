"""How hard a WHMCS is worked: calls at once and rows per page, adapted to how it answers. Pure."""

from dataclasses import dataclass, field
from typing import Final

_AT_FIRST, _MOST = 2, 8
_SMALLEST_PAGE, _FIRST_PAGE, _LARGEST_PAGE = 1, 250, 1_000
_SLOWER: Final = 1.5
_NOISE_SECONDS: Final = 0.05
_QUICK_SECONDS: Final = 1.0
_ROUNDS_TO_HALVE, _ROUNDS_TO_GROW = 2, 10
_BUSY_SHARE: Final = 0.15


@dataclass(slots=True)
class Politeness:
    """One WHMCS address. `limit` calls may be under way at once: from 2, between 1 and 8."""

    limit: int = _AT_FIRST
    page_size: int = _FIRST_PAGE
    _best: dict[tuple[str, int], float] = field(default_factory=dict)
    _late: int = 0
    _in_time: int = 0
    _since: tuple[float, float] = (0.0, 0.0)

    def answered(self, action: str, size: int, seconds: float, *, now: float, worked: float) -> None:
        """A call for `size` rows took so long. Calls of one action and size are compared with each other alone.

        `now` and `worked` are the seconds on the clock and on this process's own work. One late answer means nothing, rounds of them do.
        More than at first is asked only after rounds of answers in time through which this process was mostly idle: whoever has work of
        their own left gains nothing by asking a WHMCS for more at once.
        """
        key = (action, size)
        best = self._best[key] = min(seconds, self._best.get(key, seconds))
        is_late = seconds > best * _SLOWER + _NOISE_SECONDS
        if is_late:
            self._late, self._in_time = self._late + 1, 0
        else:
            self._late, self._in_time = 0, self._in_time + 1
        if self._in_time == 1:
            self._since = now, worked
        if self._late >= _ROUNDS_TO_HALVE * self.limit:
            self._set(self.limit // 2)
        elif self._in_time > _ROUNDS_TO_GROW * self.limit:
            was_idle = worked - self._since[1] < _BUSY_SHARE * (now - self._since[0])
            self._set(self.limit + 1 if was_idle or self.limit < _AT_FIRST else self.limit)
            if was_idle and size == self.page_size and seconds < _QUICK_SECONDS:
                self.page_size = min(_LARGEST_PAGE, self.page_size * 2)

    def refused(self, *, is_about_rows: bool) -> None:
        """A 429, a 5xx or a timeout: half as many calls, and half as large pages if that may help."""
        self._set(self.limit // 2)
        if is_about_rows:
            self.page_size = max(_SMALLEST_PAGE, self.page_size // 2)

    def _set(self, limit: int) -> None:
        self.limit = max(1, min(_MOST, limit))
        self._late = self._in_time = 0
