"""Says in the words of an owner which subscriptions count, by the definitions that the figures follow. Pure."""

from collections.abc import Iterable, Mapping

from libs.common.contracts.billing import SUBSCRIPTION_KINDS
from libs.common.contracts.lenses import GRACE_DAYS, Lens
from libs.common.figures.coverage import Freshness


def countings(instances: Iterable[Freshness]) -> Mapping[str, str]:
    """Return what counts by each lens in these instances: "a subscription counts when it is ..."."""
    return {
        Lens.CONTRACT: _in_grace(graces_of(instances)),
        Lens.ACTIVE: "active in WHMCS",
        Lens.STATUS: "active or suspended in WHMCS",
        Lens.PAID: "covered by a paid invoice",
    }


def graces_of(instances: Iterable[Freshness]) -> list[int]:
    """Return the different graces of the kinds of these instances, the shortest first; the usual one before any sync."""
    kinds = (instance.kinds.get(kind) for instance in instances for kind in SUBSCRIPTION_KINDS)
    return sorted({state.grace_days for state in kinds if state is not None}) or [GRACE_DAYS]


def _in_grace(graces: list[int]) -> str:
    if graces == [0]:
        return "paid, and not overdue"
    days = f"{graces[0]} to {graces[-1]}" if len(graces) > 1 else str(graces[0])
    return f"paid, or up to {days} day{'' if days == '1' else 's'} overdue"
