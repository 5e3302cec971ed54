"""The effect of a sync on MRR: how the MRR of its instance changed when the figures took over what it read. Pure."""

from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple

from libs.common.contracts.money import format_micros


class NoEffect(StrEnum):
    """Why a sync has no effect on MRR of its own.

    A run that ended badly leaves what it read to the next good sync. Runs that the figures took over together have one effect, which
    the last of them shows. Releases before migration 0008 of metrics recorded none.
    """

    NOT_ENDED = "not_ended"
    NOT_GOOD = "not_good"
    NOT_APPLIED = "not_applied"
    FIRST_SYNC = "first_sync"
    WITH_LATER_SYNC = "with_later_sync"
    NOT_RECORDED = "not_recorded"


class Effect(NamedTuple):
    """The change of MRR by currency, as decimal strings and without currencies that stayed equal, or why there is none."""

    change: dict[str, str] | None
    reason: NoEffect | None


def effect_of(before: Mapping[str, int] | None, after: Mapping[str, int]) -> Effect:
    """Return the effect of a run from the MRR before and after it, in micros by currency; `before` is None for the first run."""
    if before is None:
        return Effect(None, NoEffect.FIRST_SYNC)
    changes = {
        currency: after.get(currency, 0) - before.get(currency, 0)
        for currency in sorted(before.keys() | after.keys())
    }
    return Effect({currency: format_micros(change) for currency, change in changes.items() if change}, None)
