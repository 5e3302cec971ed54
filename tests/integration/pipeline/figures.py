"""The figures of `metrics_read` and of the simulator in one shape, so that a test can compare them."""

from collections import defaultdict
from collections.abc import Iterable
from datetime import date
from typing import Any

from libs.common.contracts.lenses import Lens
from tests.integration.pipeline.system import Instance, System

Figures = dict[str, Any]

_LEDGER = """
SELECT currency, kind, cycle, product, sum(mrr_micros)::bigint AS mrr_micros, sum(subscriptions)::bigint AS subscriptions
FROM metrics_read.ledger WHERE instance_id = $1 AND lens = $2 AND "on" <= $3
GROUP BY currency, kind, cycle, product"""
_LIVE = """
SELECT currency, kind, id, customer_id, mrr_micros FROM metrics_read.segments
WHERE instance_id = $1 AND lens = $2 AND from_on <= $3 AND (to_on IS NULL OR to_on > $3)"""


async def shown_figures(system: System, instance: Instance, lens: Lens, day: date | None = None) -> Figures:
    """Return the figures that the gateway shows for a day; by default the last day with figures."""
    on = day or (await system.freshness(instance))["last_on"]
    live = await system.ask_as_gateway(instance, _LIVE, instance.id, lens, on)
    currencies: dict[str, Figures] = {
        code: {
            "customers": _customers(row for row in live if row["currency"] == code),
            "live": (
                sum(row["currency"] == code for row in live),
                sum(row["mrr_micros"] for row in live if row["currency"] == code),
            ),
        }
        for code in {row["currency"] for row in live}
    }
    for code, rows in _by_currency(await system.ask_as_gateway(instance, _LEDGER, instance.id, lens, on)):
        currencies[code] |= {
            "mrr_micros": sum(row["mrr_micros"] for row in rows),
            "subscriptions": sum(row["subscriptions"] for row in rows),
            "by_kind": _split(rows, "kind"),
            "by_cycle": _split(rows, "cycle"),
            # The simulator names a custom addon `addon:<name>`. None of its names is a number, so no two keys become equal.
            "by_product": {
                name.replace("addon:name:", "addon:"): value
                for name, value in _split(rows, "product").items()
            },
        }
    return {
        "day": on.isoformat(),
        "customers": _customers(live),
        "subscriptions": _subscriptions(live),
        "currencies": currencies,
    }


def true_figures(
    instance: Instance, lens: Lens, day: date | None = None, *, without: str | None = None
) -> Figures:
    """Return the true figures of a day, by default of the simulator's today; `without` omits a kind of subscription."""
    on = day or instance.whmcs.today
    truth = instance.whmcs.control("GET", f"/truth?lens={lens}&day={on}&include=items")
    items = [item for item in truth["items"] if item["kind"] != without]
    currencies = {}
    for code, figures in truth["currencies"].items():
        of_currency = [item for item in items if item["currency"] == code]
        mrr = sum(item["mrr_micros"] for item in of_currency)
        currencies[code] = {
            "customers": _customers(of_currency),
            "live": (len(of_currency), mrr),
            "mrr_micros": mrr,
            "subscriptions": _subscriptions(of_currency),
            "by_kind": _kept(figures["by_kind"], without),
            "by_product": {
                name: value
                for name, value in figures["by_product"].items()
                if without is None or not name.startswith(f"{without}:")
            },
        }
        if without is None:
            assert mrr == figures["mrr_micros"]
            assert _subscriptions(of_currency) == figures["subscriptions"]
            currencies[code]["by_cycle"] = figures["by_cycle"]
    return {
        "day": on.isoformat(),
        "customers": _customers(items),
        "subscriptions": _subscriptions(items),
        "currencies": currencies,
    }


def _customers(items: Iterable[Any]) -> int:
    """Return the number of customers whose sum is above 0 in any currency."""
    sums: dict[tuple[int, str], int] = defaultdict(int)
    for item in items:
        sums[item["customer_id"], item["currency"]] += item["mrr_micros"]
    return len({customer_id for (customer_id, _), micros in sums.items() if micros > 0})


def _subscriptions(items: Iterable[Any]) -> int:
    """Return the number of subscriptions that are no discounts."""
    return sum(item["mrr_micros"] > 0 for item in items)


def _by_currency(rows: Iterable[Any]) -> Iterable[tuple[str, list[Any]]]:
    groups = defaultdict(list)
    for row in rows:
        if row["subscriptions"] or row["mrr_micros"]:
            groups[row["currency"]].append(row)
    return groups.items()


def _split(rows: Iterable[Any], name: str) -> dict[str, int]:
    sums: dict[str, int] = defaultdict(int)
    for row in rows:
        sums[row[name]] += row["mrr_micros"]
    return dict(sums)


def _kept(values: dict[str, int], without: str | None) -> dict[str, int]:
    return {name: value for name, value in values.items() if value and name != without}
