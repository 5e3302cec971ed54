"""Figures at their edges: a month that begins with movements, and a split of which one member has no value."""

from datetime import date
from decimal import Decimal

from tests.integration.gateway.books import Segment, add_segments, add_site
from tests.integration.gateway.conftest import Gateway
from tests.integration.gateway.test_movement_figures import series_of

FEBRUARY = {"start": "2026-02-01", "end": "2026-02-28"}


async def test_month_has_the_movements_of_its_first_day(gateway: Gateway) -> None:
    owner = await gateway.owner()
    site = await add_site(gateway, owner.organization_id)
    segments = [
        Segment(site.id, to_on=date(2026, 2, 1)),
        Segment(site.id, id=2, customer_id=2, from_on=date(2026, 2, 1), mrr_micros=7_000_000),
        Segment(site.id, id=3, customer_id=3, from_on=date(2026, 3, 1), mrr_micros=5_000_000),
    ]
    await add_segments(gateway, owner.organization_id, segments)

    [parts] = (await series_of(owner, "mrr_bridge", **FEBRUARY)).values()

    assert {name: values for name, values in parts.items() if any(Decimal(value) for _, value in values)} == {
        "start": [("2026-02-28", "10.000000")],
        "new_business": [("2026-02-28", "7.000000")],
        "churn": [("2026-02-28", "-10.000000")],
        "end": [("2026-02-28", "7.000000")],
    }


async def test_split_has_a_member_for_missing_values(gateway: Gateway) -> None:
    owner = await gateway.owner()
    site = await add_site(gateway, owner.organization_id)
    segments = [
        Segment(site.id, country="DE"),
        Segment(site.id, id=2, customer_id=2, mrr_micros=7_000_000),
    ]
    await add_segments(gateway, owner.organization_id, segments)

    split = (await owner.client.get("/api/v1/metrics/mrr?group_by=country")).json()
    whole = (await owner.client.get("/api/v1/metrics/mrr")).json()

    values = {part["group"]["country"]: Decimal(part["points"][0]["value"]) for part in split["series"]}
    assert values == {"DE": 10, "unknown": 7}
    assert sum(values.values()) == Decimal(whole["series"][0]["points"][0]["value"])
