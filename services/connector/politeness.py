"""How hard a WHMCS is worked: calls at once and rows per page, adapted to how it answers. Pure."""

from dataclasses import dataclass, field
from typing import Final

_FEWEST, _MOST = 2, 8
_SMALLEST_PAGE, _FIRST_PAGE, _LARGEST_PAGE = 1, 250, 1_000
_SLOWER: Final = 1.5
_NOISE_SECONDS: Final = 0.05
_QUICK_SECONDS: Final = 1.0


@dataclass(slots=True)
class Politeness:
    """One WHMCS address. `limit` calls may be under way at once: from 2, between 1 and 8."""

    limit: int = _FEWEST
    page_size: int = _FIRST_PAGE
    _best: dict[tuple[str, int], float] = field(default_factory=dict)
    _since_change: int = 0

    def answered(self, action: str, size: int, seconds: float) -> None:
        """A call for `size` rows took so long. Calls of one action and size are compared with each other alone."""
        key = (action, size)
        best = self._best[key] = min(seconds, self._best.get(key, seconds))
        self._since_change += 1
        if seconds > best * _SLOWER + _NOISE_SECONDS:
            if self._since_change >= self.limit:  # those under way were asked before the last change
                self._set(self.limit // 2)
        elif self._since_change >= self.limit:
            self._set(self.limit + 1)
        if size == self.page_size and seconds < _QUICK_SECONDS:
            self.page_size = min(_LARGEST_PAGE, self.page_size * 2)

    def refused(self, *, is_about_rows: bool) -> None:
        """A 429, a 5xx or a timeout: half as many calls, and half as large pages if that may help."""
        self._set(self.limit // 2)
        if is_about_rows:
            self.page_size = max(_SMALLEST_PAGE, self.page_size // 2)

    def _set(self, limit: int) -> None:
        self.limit = max(1, min(_MOST, limit))
        self._since_change = 0
