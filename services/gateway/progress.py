"""Computes how far a sync is, by the counts of WHMCS, or by the number expected at its start until WHMCS has counted."""

from collections.abc import Mapping
from dataclasses import dataclass

from libs.common.contracts.sync import KindProgress

_MOST_WHILE_READING = 99
# The speed of the first seconds says nothing about the rest.
_FIRST_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class Size:
    """Records read and to be read. `total` is None while it is unknown; `is_exact` once WHMCS has counted every list."""

    rows: int
    total: int | None
    is_exact: bool


def size(kinds: Mapping[str, KindProgress], expected: int | None) -> Size:
    """Return the size of a sync. `expected` is the number of records that the check or the last sync counted."""
    rows = sum(kind.rows for kind in kinds.values())
    counted = sum(max(kind.rows, kind.expected or 0) for kind in kinds.values())
    is_exact = bool(kinds) and all(kind.expected is not None for kind in kinds.values())
    total = counted if is_exact else max(expected, counted) if expected else None
    return Size(rows, total, is_exact)


def per_cent(reached: int, kinds: Mapping[str, KindProgress], expected: int | None) -> int:
    """Return the share that is read in per cent: never less than `reached`, and at most 99, because only the end proves 100."""
    so_far = size(kinds, expected)
    share = 100 * so_far.rows // so_far.total if so_far.total else 0
    return max(reached, min(share, _MOST_WHILE_READING))


def seconds_left(so_far: Size, elapsed: float) -> float | None:
    """Return how many seconds the rest takes at the speed so far; None while there is no basis for it."""
    if so_far.total is None or so_far.rows == 0 or elapsed < _FIRST_SECONDS:
        return None
    rest = so_far.total - so_far.rows
    return elapsed * rest / so_far.rows if rest > 0 else None
