"""Explanations: numbers that give the value, lists that add up to them, and SQL that says the same."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Decimal
from statistics import median
from typing import Any
from uuid import UUID

import pytest

from libs.common.database import raw, transaction
from libs.common.figures import explain
from libs.common.figures.catalogue import METRICS
from libs.common.figures.groups import Group
from libs.common.figures.metric import Metric
from tests.integration.gateway.books import (
    DAY,
    FIRST,
    TODAY,
    Gap,
    Segment,
    add_segments,
    add_site,
    set_paid,
)
from tests.integration.gateway.conftest import Gateway, Person
from tests.integration.gateway.test_behind_figures import pages_of

SPLITS: Sequence[str] = ("", "kind", "product,cycle", "instance,currency", "country,promotion,customer_group")


async def owner_with_books(gateway: Gateway) -> Person:
    """The owner of three instances: a fresh one, one that stopped, and one without addons."""
    owner = await gateway.owner()
    ours = owner.organization_id
    for number, values in enumerate(
        (
            {},
            {"last_on": TODAY - 9 * DAY, "as_of": datetime(2026, 2, 20, 6, tzinfo=UTC)},
            {"missing": ("addon",), "began_on": {"domain": FIRST + 9 * DAY}},
        )
    ):
        site = await add_site(gateway, ours, f"Site {number}", **values)
        await add_segments(
            gateway,
            ours,
            [
                Segment(site.id, mrr_micros=1_234_567),
                Segment(
                    site.id,
                    id=2,
                    customer_id=2,
                    mrr_micros=3_000_001,
                    cycle="annually",
                    country="DE",
                    promotion_id=5,
                    customer_group="7",
                ),
                Segment(site.id, id=3, customer_id=3, currency="JPY", to_on=TODAY - 5 * DAY),
                Segment(site.id, id=4, customer_id=4, currency="JPY", mrr_micros=5, from_on=TODAY - 2 * DAY),
                Segment(site.id, kind="domain", product="domain:com", product_name=".com"),
                Segment(site.id, lens="active", id=9, mrr_micros=99_000_000),
                Segment(site.id, id=6, customer_id=6, to_on=TODAY + 3 * DAY, cause="non_payment"),
                Segment(site.id, id=7, customer_id=6, to_on=TODAY + 20 * DAY, cause="cancellation"),
                Segment(site.id, lens="paid", mrr_micros=1_000_000),
                Segment(site.id, lens="paid", id=3, customer_id=3, currency="JPY", to_on=TODAY - 5 * DAY),
            ],
        )
        await set_paid(
            gateway,
            site,
            Gap(site.id, part="price_changed", contract_micros=1_234_567, paid_micros=1_000_000),
            Gap(site.id, id=2, customer_id=2, part="free_term", cycle="annually", country="DE"),
            Gap(site.id, id=4, part="no_linked_line", currency="JPY", from_on=TODAY - 2 * DAY),
            Gap(site.id, id=5, part="no_linked_line", contract_micros=0, paid_micros=7, to_on=TODAY),
        )
    return owner


async def explained(person: Person, slug: str, **parameters: str | Sequence[str]) -> dict[str, Any]:
    answer = await person.client.get(f"/api/v1/explain/{slug}", params=parameters)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


async def rows_of(gateway: Gateway, sql: str) -> Sequence[Any]:
    """Run copied SQL as the documented reader."""
    named, statement, _ = sql.split(";\n")
    async with transaction(gateway.context.engine) as connection:
        database = await raw(connection)
        await database.execute(named)
        rows: Sequence[Any] = await database.fetch(statement)
        return rows


def shown(value: Any, metric: Metric) -> str | int:
    """A value of the statement as the API shows it."""
    if metric.unit == "count":
        return int(value or 0)
    return str(Decimal(value).quantize(Decimal("0.000001"), ROUND_HALF_EVEN))


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.slug)
async def test_copied_sql_gives_the_same_values(gateway: Gateway, metric: Metric) -> None:
    owner = await owner_with_books(gateway)
    checked = 0

    for groups in SPLITS:
        for on in (TODAY,) if metric.is_of_newest_day else (FIRST + DAY, TODAY - 4 * DAY, TODAY):
            period = {"start": str(max(FIRST + DAY, on - 20 * DAY))} if metric.is_of_period else {}
            answer = await explained(owner, metric.slug, on=str(on), group_by=groups, **period)
            rows = await rows_of(gateway, answer["question"]["sql"])
            in_api = {
                tuple(sorted(value["group"].items())): value["value"]
                for value in answer["values"]
                if value["value"] is not None and not is_nothing(value["value"], metric)
            }
            in_sql = {
                tuple(sorted((name, str(row[name])) for name in dict(row) if name in list(Group))): shown(
                    row[metric.slug], metric
                )
                for row in rows
                if row[metric.slug] is not None and not is_nothing(shown(row[metric.slug], metric), metric)
            }
            assert in_sql == in_api, (groups, on)
            checked += len(in_sql)
    assert checked > 3


def is_nothing(value: str | int, metric: Metric) -> bool:
    """SQL has no row for a group in which nothing moved; its figure is 0."""
    return metric.lacks_quiet_groups and metric.unit != "ratio" and Decimal(value) == 0


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.slug)
async def test_operands_give_the_value_and_lists_add_up_to_them(gateway: Gateway, metric: Metric) -> None:
    owner = await owner_with_books(gateway)

    period = {"start": str(FIRST + DAY)} if metric.is_of_period else {}
    answer = await explained(owner, metric.slug, group_by="kind", lens="contract", **period)

    assert answer["values"]
    for value in answer["values"]:
        for operand in value["operands"]:
            if "/movements?" in operand["list"]:
                assert operand["value"] in (None, await sum_of_movements(owner, operand))
                continue
            # MRR that was read for the first time is a part of the list of all subscriptions.
            if operand["name"] == "first_read":
                continue
            items = await pages_of(owner, operand["list"])
            amounts = [amount_of(item) for item in items] or [Decimal()]
            amount = 2 * median(amounts) if operand["name"] == "two_middle_mrr" else sum(amounts)
            if operand["value"] is not None:
                assert operand["value"] == (len(items) if operand["unit"] == "count" else f"{amount:.6f}")


async def sum_of_movements(owner: Person, operand: dict[str, Any]) -> str | int:
    """What the items of a list of movements add up to: amounts, or days of customers; transfers are netted for each of these."""
    days: dict[tuple[Any, ...], Decimal] = defaultdict(Decimal)
    for item in await pages_of(owner, operand["list"]):
        days[item["instance_id"], item["customer_id"], item["on"]] += Decimal(item["amount"])
    if operand["unit"] == "count":
        return len(days)
    signs = {"entering": 1, "leaving": -1}
    sign = signs.get(operand["name"], 0)
    return f"{sum((amount for amount in days.values() if amount * sign >= 0), Decimal()):.6f}"


def amount_of(item: dict[str, Any]) -> Decimal:
    """What an item of a list adds to the operand."""
    if "gap" in item:
        return Decimal(item["gap"])
    if "mrr" in item:
        return Decimal(item["mrr"])
    return abs(Decimal(item["mrr_at_end"]) - Decimal(item["mrr_at_start"]))


async def test_explanation_shows_formula_settings_and_omissions(gateway: Gateway) -> None:
    owner = await owner_with_books(gateway)
    await add_issues(
        gateway, owner.organization_id, "due_date_missing", "currency_unknown", "currency_unknown"
    )

    contract = await explained(owner, "arpa")
    active = await explained(owner, "arpa", lens="active")

    assert (contract["formula"], contract["version"], contract["on"]) == ("mrr / customers", 1, str(TODAY))
    assert [setting["name"] for setting in contract["settings"]] == ["lens", "grace_days", "currency"]
    assert [setting["name"] for setting in active["settings"]] == ["lens", "currency"]
    counts = {omission["reason"]: omission["count"] for omission in contract["omitted"]}
    assert counts == {"currency_unknown": 2, "due_date_missing": 1}
    assert {omission["reason"] for omission in active["omitted"]} == {"currency_unknown"}
    assert any("Addons of Site 2" in note for note in contract["notes"])
    unread = [source for source in contract["sources"] if source["code"] is not None]
    assert [(source["instance_name"], source["action"]) for source in unread] == [
        ("Site 2", "GetClientsAddons")
    ]


async def add_issues(gateway: Gateway, organization_id: UUID, *reasons: str) -> None:
    for number, reason in enumerate(reasons):
        await gateway.execute(
            """INSERT INTO metrics.issues (organization_id, instance_id, kind, id, reason, customer_id)
            SELECT organization_id, instance_id, 'service', :id, :reason, 1 FROM metrics.instances
            WHERE organization_id = :organization ORDER BY name LIMIT 1""",
            organization=organization_id,
            id=number,
            reason=reason,
        )


async def test_address_of_the_question_gives_the_explained_value(gateway: Gateway) -> None:
    owner = await owner_with_books(gateway)

    answer = await explained(owner, "mrr", on=str(TODAY - DAY), group_by="kind")
    figure = await owner.client.get(answer["question"]["address"])

    assert [(value["group"], value["value"]) for value in answer["values"]] == [
        (series["group"], series["points"][0]["value"]) for series in figure.json()["series"]
    ]
    assert answer["question"]["curl"] == (
        'curl --header "Authorization: Bearer $MRRLYTICS_TOKEN" '
        f'"http://127.0.0.1:8080{answer["question"]["address"]}"'
    )


async def test_explanation_keeps_the_filters(gateway: Gateway) -> None:
    owner = await owner_with_books(gateway)
    limits = {"filter[country]": "DE", "filter[kind]": ["service", "domain"]}

    answer = await explained(owner, "subscriptions", **limits)

    [value] = answer["values"]
    [operand] = value["operands"]
    figure = (await owner.client.get(answer["question"]["address"])).json()
    [row] = await rows_of(gateway, answer["question"]["sql"])
    assert value["value"] == 3
    assert len(await pages_of(owner, operand["list"])) == 3
    assert figure["series"][0]["points"][0]["value"] == 3
    assert row["subscriptions"] == 3


async def test_base_below_0_gives_no_value_in_sql(gateway: Gateway) -> None:
    owner = await gateway.owner()
    site = await add_site(gateway, owner.organization_id)
    on = TODAY - DAY
    await add_segments(
        gateway,
        owner.organization_id,
        [
            Segment(site.id, mrr_micros=-3_000_000, to_on=on),
            Segment(site.id, mrr_micros=-4_000_000, from_on=on),
        ],
    )

    answer = await explained(owner, "mrr_growth_rate", start=str(on), on=str(TODAY))
    [row] = await rows_of(gateway, answer["question"]["sql"])

    [value] = answer["values"]
    assert (value["value"], value["reason"]) == (None, "no_mrr_at_start")
    assert row["mrr_growth_rate"] is None


async def test_text_of_a_filter_stays_a_literal_in_sql(gateway: Gateway) -> None:
    owner = await gateway.owner()
    site = await add_site(gateway, owner.organization_id)
    product = "addon:name:O'Neill; {x} -- \\"
    await add_segments(gateway, owner.organization_id, [Segment(site.id, kind="addon", product=product)])

    answer = await explained(owner, "subscriptions", **{"filter[product]": f"{site.id}:{product}"})

    [row] = await rows_of(gateway, answer["question"]["sql"])
    assert (answer["values"][0]["value"], row["subscriptions"]) == (1, 1)


async def test_explanation_of_one_instance_omits_the_others(gateway: Gateway) -> None:
    owner = await owner_with_books(gateway)
    instances = (await owner.client.get("/api/v1/instances")).json()["items"]
    [fresh] = [instance["id"] for instance in instances if instance["name"] == "Site 0"]

    answer = await explained(owner, "subscriptions", **{"filter[instance]": fresh})

    [value] = answer["values"]
    [operand] = value["operands"]
    assert value["value"] == operand["value"] == 6
    assert len(await pages_of(owner, operand["list"])) == 6
    assert {source["instance_id"] for source in answer["sources"]} == {fresh}


async def test_addresses_of_an_explanation_keep_its_organization(gateway: Gateway) -> None:
    owner = await owner_with_books(gateway)
    await gateway.join(owner.email, await gateway.organization("Stratus"), "owner")
    await owner.client.get("/o/stratus/")

    answer = await explained(owner, "subscriptions", organization="nimbus")

    [value] = answer["values"]
    [operand] = value["operands"]
    assert value["value"] == len(await pages_of(owner, operand["list"])) > 0
    figure = (await owner.client.get(answer["question"]["address"])).json()
    assert figure["series"][0]["points"][0]["value"] == value["value"]


async def test_explanation_has_a_limited_number_of_groups(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = await owner_with_books(gateway)
    monkeypatch.setattr(explain, "MOST_GROUPS", 1)

    answer = await owner.client.get("/api/v1/explain/mrr?group_by=kind")

    assert (answer.status_code, answer.json()["code"]) == (422, "answer_too_large")


async def test_operands_are_unknown_before_the_first_sync(gateway: Gateway) -> None:
    owner = await gateway.owner()
    await add_site(gateway, owner.organization_id)

    answer = await explained(owner, "customers", on=str(FIRST - DAY))

    [value] = answer["values"]
    assert (value["value"], value["reason"]) == (None, "before_first_sync")
    assert [operand["value"] for operand in value["operands"]] == [None]


@pytest.mark.parametrize(
    ("address", "status", "code"),
    [
        ("nothing", 404, "metric_unknown"),
        ("mrr?group_by=colour", 422, "group_unknown"),
        ("mrr?currency=EUR", 422, "currency_unknown"),
        (f"mrr?filter[instance]={UUID(int=7)}", 404, "instance_not_found"),
        ("mrr?start=2026-01-01", 422, "range_invalid"),
        ("customer_churn_rate?start=2026-02-02&on=2026-02-01", 422, "range_invalid"),
        ("mrr?end=2026-01-01", 422, "parameter_unknown"),
    ],
)
async def test_question_without_an_explanation_is_refused(
    gateway: Gateway, address: str, status: int, code: str
) -> None:
    owner = await gateway.owner()

    answer = await owner.client.get(f"/api/v1/explain/{address}")

    assert (answer.status_code, answer.json()["code"]) == (status, code)
