"""Cohorts equal those of an oracle in plain Python, sum to MRR, and each cell has its customers."""

import csv
import random
from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import date, timedelta
from decimal import Decimal
from io import StringIO
from typing import Any, NamedTuple
from uuid import UUID

import pytest

from libs.common.figures.matrix import first_of, last_of, month_number
from tests.integration.gateway.books import TODAY, Segment, Site, add_segments, add_site
from tests.integration.gateway.conftest import Gateway, Person
from tests.integration.gateway.test_behind_figures import pages_of

FIRST = date(2025, 3, 5)
JANUARY = date(2026, 1, 1)


class Account(NamedTuple):
    """A customer in one currency."""

    instance_id: UUID
    customer_id: int
    currency: str


def lives(dice: random.Random, sites: Iterable[Site]) -> list[Segment]:
    """Services of a year with gaps, changes of price and of customer, and future ends."""
    segments = []
    for site in sites:
        for number in range(30):
            on = FIRST + timedelta(days=dice.choice([-1, 0, 1, 1]) * dice.randint(0, 330))
            for _ in range(dice.randint(1, 5)):
                to_on = on + timedelta(days=dice.randint(1, 150))
                values = {"customer_id": dice.randint(1, 14), "currency": dice.choice(["EUR", "JPY"])}
                ends = dice.choice([to_on, to_on, None])
                segments.append(
                    Segment(
                        site.id,
                        id=number,
                        from_on=on,
                        to_on=ends,
                        mrr_micros=dice.randint(1, 10**9),
                        **values,
                    )
                )
                if ends is None:
                    break
                on = to_on + timedelta(days=dice.choice([0, 0, 40]))
    return segments


def mrr_of_days(segments: Iterable[Segment]) -> Mapping[Account, Mapping[date, int]]:
    """The MRR of each account on each known day up to today on which it is above 0."""
    days: dict[Account, dict[date, int]] = defaultdict(lambda: defaultdict(int))
    for segment in segments:
        on = max(segment.from_on, FIRST)
        while on <= TODAY and (segment.to_on is None or on < segment.to_on):
            days[Account(segment.instance_id, segment.customer_id, segment.currency)][on] += (
                segment.mrr_micros
            )
            on += timedelta(days=1)
    return days


def expected_cells(segments: Iterable[Segment]) -> dict[tuple[str, date, bool, date], tuple[int, int, int]]:
    """Customers, gross and net MRR by currency, cohort, whether it is older, and day."""
    cells: dict[tuple[str, date, bool, date], list[int]] = defaultdict(lambda: [0, 0, 0])
    for account, days in mrr_of_days(segments).items():
        first_on = min(days)
        month = month_number(first_on)
        start = days.get(last_of(month, TODAY), 0)
        for later in range(month, month_number(TODAY) + 1):
            on = last_of(later, TODAY)
            cell = cells[account.currency, first_of(month), first_on <= FIRST, on]
            micros = days.get(on, 0)
            for number, value in enumerate((int(micros > 0), min(start, micros), micros)):
                cell[number] += value
    return {key: (cell[0], cell[1], cell[2]) for key, cell in cells.items()}


def micros(text: str) -> int:
    return int(Decimal(text).scaleb(6))


async def cohorts(owner: Person, **parameters: Any) -> dict[str, Any]:
    answer = await owner.client.get("/api/v1/metrics/cohorts", params=parameters)
    assert answer.status_code == 200, answer.text
    matrix: dict[str, Any] = answer.json()
    return matrix


async def owner_with_lives(gateway: Gateway, seed: int) -> tuple[Person, list[Segment]]:
    owner = await gateway.owner()
    sites = [await add_site(gateway, owner.organization_id, name, first_on=FIRST) for name in ("One", "Two")]
    segments = lives(random.Random(seed), sites)
    await add_segments(gateway, owner.organization_id, segments)
    return owner, segments


@pytest.mark.parametrize("seed", range(4))
async def test_cohorts_equal_the_oracle(gateway: Gateway, seed: int) -> None:
    owner, segments = await owner_with_lives(gateway, seed)

    answer = await cohorts(owner)

    shown = {
        (
            cohort["group"]["currency"],
            date.fromisoformat(cohort["month"]),
            cohort["is_earlier"],
            date.fromisoformat(cell["on"]),
        ): (
            cell["customers"],
            micros(cell["gross_mrr"]),
            micros(cell["net_mrr"]),
        )
        for cohort in answer["cohorts"]
        for cell in cohort["cells"]
    }
    assert shown == expected_cells(segments)
    assert sum(cohort["joined"] for cohort in answer["cohorts"]) == len(mrr_of_days(segments))


async def test_month_0_is_whole_and_net_sums_to_mrr(gateway: Gateway) -> None:
    owner, _ = await owner_with_lives(gateway, 7)
    answer = await cohorts(owner)

    for cohort in answer["cohorts"]:
        first = cohort["cells"][0]
        assert (first["customers"], first["net_mrr"]) == (cohort["size"], cohort["mrr"])
        assert first["net_mrr_retained"] == ("1.000000" if cohort["size"] else None)
    net: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
    for cohort in answer["cohorts"]:
        for cell in cohort["cells"]:
            net[cohort["group"]["currency"], cell["on"]] += Decimal(cell["net_mrr"])
    question = {"start": str(FIRST), "end": str(TODAY), "interval": "month"}
    figure = (await owner.client.get("/api/v1/metrics/mrr", params=question)).json()
    mrr = {
        (series["group"]["currency"], point["on"]): Decimal(point["value"])
        for series in figure["series"]
        for point in series["points"]
    }
    assert net == mrr


async def test_customers_of_a_cell_sum_to_it(gateway: Gateway) -> None:
    owner, _ = await owner_with_lives(gateway, 3)
    answer = await cohorts(owner, **{"filter[currency]": "EUR"})
    assert {cohort["group"]["currency"] for cohort in answer["cohorts"]} == {"EUR"}

    for cohort in answer["cohorts"]:
        cell = cohort["cells"][len(cohort["cells"]) // 2]
        listed = await pages_of(
            owner,
            f"/api/v1/cohort-customers?month={cohort['month']}&months_after={cell['months_after']}"
            f"&is_earlier={str(cohort['is_earlier']).lower()}&filter[currency]=EUR",
        )
        assert len(listed) == cohort["joined"]
        assert sum(Decimal(row["mrr"]) for row in listed) == Decimal(cell["net_mrr"])
        assert sum(Decimal(row["mrr_at_start"]) for row in listed) == Decimal(cohort["mrr"])
        assert sum(Decimal(row["mrr"]) > 0 for row in listed) == cell["customers"]


async def test_cells_of_the_open_month_are_in_no_average(gateway: Gateway) -> None:
    owner = await gateway.owner()
    site = await add_site(gateway, owner.organization_id, first_on=FIRST)
    await add_segments(
        gateway,
        owner.organization_id,
        [
            Segment(site.id, id=1, customer_id=1, from_on=JANUARY),
            Segment(site.id, id=2, customer_id=2, from_on=JANUARY, to_on=TODAY),
        ],
    )

    answer = await cohorts(owner)

    assert [cell["complete"] for cell in answer["cohorts"][0]["cells"]] == [True, True, False]
    [averages] = answer["averages"]
    assert [(cell["cohorts"], cell["customers_retained"]) for cell in averages["cells"]] == [
        (1, "1.000000"),
        (1, "1.000000"),
        (0, None),
    ]


async def test_range_chooses_cohorts(gateway: Gateway) -> None:
    owner, _ = await owner_with_lives(gateway, 5)

    answer = await cohorts(owner, start="2025-06-15", end="2025-07-01")

    assert {cohort["month"] for cohort in answer["cohorts"]} == {"2025-06-01", "2025-07-01"}


async def test_table_has_a_row_for_each_cell(gateway: Gateway) -> None:
    owner, _ = await owner_with_lives(gateway, 2)
    cells = [cell for cohort in (await cohorts(owner))["cohorts"] for cell in cohort["cells"]]

    answer = await owner.client.get("/api/v1/metrics/cohorts", params={"format": "csv"})

    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    rows = list(csv.DictReader(StringIO(answer.text)))
    assert [(row["on"], row["net_mrr"]) for row in rows] == [(cell["on"], cell["net_mrr"]) for cell in cells]


@pytest.mark.parametrize(
    ("address", "parameters", "code"),
    [
        ("metrics/cohorts", {"filter[kind]": "service"}, "filter_unavailable"),
        ("metrics/cohorts", {"filter[currency]": "XXX"}, "filter_unknown"),
        ("cohort-customers", {"month": "2026-03-01", "months_after": "1"}, "range_invalid"),
    ],
)
async def test_impossible_question_is_refused(
    gateway: Gateway, address: str, parameters: dict[str, str], code: str
) -> None:
    owner, _ = await owner_with_lives(gateway, 1)

    answer = await owner.client.get(f"/api/v1/{address}", params=parameters)

    assert (answer.status_code, answer.json()["code"]) == (422, code)
