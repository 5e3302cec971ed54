"""The currency of reports: chosen by an admin, used by the API, its lists and its explanations."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pytest

from tests.integration.gateway.books import (
    DAY,
    FIRST,
    TODAY,
    Segment,
    Site,
    add_rates,
    add_segments,
    add_site,
)
from tests.integration.gateway.conftest import Gateway, Person

ON = TODAY - 5 * DAY
START = TODAY - 10 * DAY
PERIOD = {"start": str(START), "end": str(TODAY), "interval": "range"}


@dataclass
class Office:
    """The owner of an instance whose default currency is EUR; a dollar is 80 cents and from ON on 50."""

    gateway: Gateway
    owner: Person
    site: Site

    async def holds(self, *segments: Segment) -> None:
        await add_segments(self.gateway, self.owner.organization_id, segments)

    async def get(self, path: str, **parameters: Any) -> Any:
        answer = await self.owner.client.get(f"/api/v1/{path}", params=parameters)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def values(self, slug: str, **parameters: Any) -> list[Any]:
        """Return the values of a metric without groups."""
        [series] = (await self.get(f"metrics/{slug}", **{"currency": "EUR", **parameters}))["series"]
        assert series["group"] == {}
        return [point["value"] for point in series["points"]]

    async def bridge(self, **parameters: Any) -> dict[str, Decimal]:
        """Return the parts of the bridge that are not 0."""
        answer = await self.get("metrics/mrr_bridge", **{"currency": "EUR", **PERIOD, **parameters})
        parts = {
            series["group"]["movement"]: Decimal(series["points"][0]["value"]) for series in answer["series"]
        }
        return {name: amount for name, amount in parts.items() if amount}

    async def choose(self, currency: str | None, person: Person | None = None) -> Any:
        asked = person or self.owner
        return await asked.client.patch(
            "/api/v1/organization",
            json={"reporting_currency": currency},
            headers={"x-csrf-token": await asked.csrf()},
        )


@pytest.fixture
async def office(gateway: Gateway) -> Office:
    owner = await gateway.owner()
    site = await add_site(gateway, owner.organization_id)
    await add_rates(gateway, site, FIRST, {"EUR": "1.00000", "USD": "1.25000", "JPY": "160.00000"})
    await add_rates(gateway, site, ON, {"EUR": "1.00000", "USD": "2.00000"})
    return Office(gateway, owner, site)


async def test_currency_of_reports_is_chosen_and_audited(office: Office) -> None:
    before = await office.get("organization")
    chosen = await office.choose("USD")
    after = await office.get("metrics/mrr", currency="reporting")
    back = await office.choose(None)

    assert (before["reporting_currency"], before["is_chosen"]) == ("EUR", False)
    assert before["currencies"] == ["EUR", "JPY", "USD"]
    assert [(rate["currency"], rate["rate"], rate["seen_on"]) for rate in before["rates"]] == [
        ("EUR", "1.000000", str(ON)),
        ("JPY", "160.000000", str(FIRST)),
        ("USD", "2.000000", str(ON)),
    ]
    assert (chosen.json()["reporting_currency"], chosen.json()["is_chosen"]) == ("USD", True)
    assert after["currency"] == "USD"
    assert back.json()["reporting_currency"] == "EUR"
    audit = (await office.get("audit"))["items"]
    assert [line["target"] for line in audit if line["action"] == "organization.reporting_currency"] == [
        "default",
        "USD",
    ]


async def test_unknown_currency_of_reports_is_refused(office: Office) -> None:
    answer = await office.choose("XXX")

    assert (answer.status_code, answer.json()["code"]) == (422, "currency_unknown")
    assert answer.json()["field"] == "reporting_currency"
    assert (await office.get("organization"))["is_chosen"] is False


async def test_viewer_may_not_choose_the_currency(office: Office) -> None:
    viewer = await office.gateway.member("viewer@example.com", office.owner.organization_id, "analyst")

    answer = await viewer.client.patch("/api/v1/organization", json={"reporting_currency": "USD"})

    assert answer.status_code == 403


async def test_form_chooses_the_currency(office: Office) -> None:
    page = await office.owner.open("/settings/currency")
    saved = await office.owner.post("/settings/currency", reporting_currency="JPY")
    refused = await office.owner.post("/settings/currency", reporting_currency="XXX")

    assert "The default currency of the oldest instance" in page.text
    assert "160.000000" in page.text
    assert saved.status_code == 303
    assert (await office.get("organization"))["reporting_currency"] == "JPY"
    assert refused.status_code == 422
    assert "Choose one of EUR, JPY, USD." in refused.text


@pytest.mark.parametrize("currency", ["XXX", "eur", ""])
async def test_figure_in_an_unknown_currency_is_refused(office: Office, currency: str) -> None:
    answer = await office.owner.client.get("/api/v1/metrics/mrr", params={"currency": currency})

    assert (answer.status_code, answer.json()["code"]) == (422, "currency_unknown")


async def test_amount_of_a_currency_without_decimals_is_exact(office: Office) -> None:
    await office.holds(Segment(office.site.id, currency="JPY", mrr_micros=1_234_000_000))

    [series] = (await office.get("metrics/mrr"))["series"]

    assert (series["group"], series["points"][0]["value"]) == ({"currency": "JPY"}, "1234.000000")
    assert await office.values("mrr") == ["7.712500"]
    assert await office.values("mrr", currency="JPY") == ["1234.000000"]


async def test_amount_without_a_rate_is_left_out_and_counted(office: Office) -> None:
    await office.holds(
        Segment(office.site.id, id=1, customer_id=1),
        Segment(office.site.id, id=2, customer_id=2, currency="XXX"),
        Segment(office.site.id, id=3, customer_id=2, currency="XXX"),
    )

    answer = await office.get("metrics/mrr", currency="EUR")

    assert await office.values("mrr") == ["10.000000"]
    assert await office.values("arpa") == ["10.000000"]
    assert [note for note in answer["notes"] if "XXX" in note] == [
        "2 subscriptions are left out: Main bills in XXX, and no rate from XXX to EUR is known. Add the currencies with their rates in "
        "WHMCS, or use the original currencies."
    ]
    assert {item["currency"] for item in (await office.get("customers", currency="EUR"))["items"]} == {"EUR"}
    assert len((await office.get("subscriptions", currency="EUR"))["items"]) == 1


async def test_two_instances_with_one_client_have_two_customers(office: Office) -> None:
    """Each is converted by the rates of its own instance."""
    organization_id = office.owner.organization_id
    other = await add_site(office.gateway, organization_id, "Other")
    await add_rates(office.gateway, other, FIRST, {"USD": "1.00000", "EUR": "0.90000"})
    await office.holds(Segment(office.site.id, currency="USD"), Segment(other.id, currency="USD"))

    answer = await office.get("metrics/mrr", currency="EUR", group_by="instance")

    assert {series["group"]["instance"]: series["points"][0]["value"] for series in answer["series"]} == {
        str(office.site.id): "5.000000",
        str(other.id): "9.000000",
    }
    assert await office.values("customers") == [2]
    assert await office.values("arpa") == ["7.000000"]


async def test_instance_without_the_currency_uses_other_rates(office: Office) -> None:
    other = await add_site(office.gateway, office.owner.organization_id, "Other")
    await add_rates(office.gateway, other, FIRST, {"USD": "1.00000"})
    await office.holds(Segment(other.id, currency="USD"))

    answer = await office.get("metrics/mrr", currency="reporting")
    explained = await office.get("explain/mrr", currency="reporting")

    assert answer["series"][0]["points"][0]["value"] == "5.000000"
    assert "Amounts of Other in USD are converted by the rates of Main." in answer["notes"]
    assert ("Other", "USD", "0.500000", "Main") in [
        (rate["instance_name"], rate["currency"], rate["value"], rate["by"]) for rate in explained["rates"]
    ]


async def test_client_made_anew_in_another_currency_has_moved(office: Office) -> None:
    """It neither left nor is it new. What is left between the two prices is the change of exchange rates."""
    await office.holds(
        Segment(office.site.id, currency="USD", to_on=ON, customer_id=1),
        Segment(office.site.id, currency="EUR", from_on=ON, customer_id=2, mrr_micros=7_000_000),
    )

    native = (await office.get("metrics/mrr_bridge", **PERIOD))["series"]

    moved = {
        series["group"]["currency"]: series["points"][0]["value"]
        for series in native
        if series["group"]["movement"] == "moved"
    }
    assert moved == {"EUR": "7.000000", "USD": "-10.000000"}
    assert await office.bridge() == {"start": Decimal(8), "fx": Decimal(-1), "end": Decimal(7)}
    assert await office.bridge(fx="constant") == {
        "start": Decimal(5),
        "moved": Decimal(2),
        "end": Decimal(7),
    }


async def test_customer_who_leaves_after_the_rate_moved_is_at_0(office: Office) -> None:
    await office.holds(Segment(office.site.id, currency="USD", to_on=ON + DAY))

    assert await office.bridge() == {"start": Decimal(8), "churn": Decimal(-5), "fx": Decimal(-3)}
    assert await office.bridge(fx="constant") == {"start": Decimal(5), "churn": Decimal(-5)}
    assert await office.values("gross_revenue_retention", **PERIOD) == ["0.000000"]
    assert await office.values("gross_mrr_churn_rate", **PERIOD) == ["0.625000"]
    [customer] = (
        await office.get("customer-changes", currency="EUR", start=str(START), end=str(TODAY), outcome="lost")
    )["items"]
    assert (customer["mrr_at_start"], customer["mrr_at_end"]) == ("8.000000", "0.000000")


async def test_customer_who_changes_currency_stays(office: Office) -> None:
    await office.holds(
        Segment(office.site.id, currency="USD", to_on=ON),
        Segment(office.site.id, currency="EUR", from_on=ON, mrr_micros=8_000_000),
    )

    assert await office.values("net_revenue_retention", **PERIOD) == ["1.000000"]
    assert await office.values("gross_mrr_churn_rate", **PERIOD) == ["0.000000"]
    assert await office.bridge() == {"start": Decimal(8), "end": Decimal(8)}


async def test_lists_add_up_to_the_converted_figures(office: Office) -> None:
    """Each list has one currency and begins with the largest converted amount."""
    await office.holds(
        *(
            Segment(
                office.site.id,
                id=number,
                customer_id=number % 5,
                currency=code,
                mrr_micros=number * 1_000_007,
            )
            for number, code in enumerate(["USD", "EUR", "JPY", "USD", "EUR", "USD", "JPY", "USD"] * 3, 1)
        ),
        Segment(office.site.id, id=90, customer_id=90, currency="USD", to_on=ON + DAY),
        Segment(office.site.id, id=91, customer_id=91, currency="USD", to_on=ON - DAY),
    )
    for path in ("subscriptions", "customers"):
        items = await every_item(office, path, on=str(TODAY))
        amounts = [Decimal(item["mrr"]) for item in items]
        assert sum(amounts) == Decimal((await office.values("mrr"))[0])
        assert amounts == sorted(amounts, reverse=True)
        assert {item["currency"] for item in items} == {"EUR"}
    movements = await every_item(office, "movements", start=str(START), end=str(TODAY), movement="churn")
    assert [Decimal(item["amount"]) for item in movements] == [Decimal(-8), Decimal(-5)]
    assert (await office.bridge())["churn"] == Decimal(-13)


async def every_item(office: Office, path: str, **parameters: Any) -> list[Any]:
    items: list[Any] = []
    cursor: dict[str, str] = {}
    while True:
        page = await office.get(path, currency="EUR", limit=3, **parameters, **cursor)
        items += page["items"]
        if page["next"] is None:
            return items
        cursor = {"cursor": page["next"]}


async def test_explanation_names_the_rates_and_its_sql_agrees(office: Office) -> None:
    await office.holds(Segment(office.site.id, currency="USD"), Segment(office.site.id, id=2, currency="JPY"))
    asked = {"currency": "EUR", "start": str(START), "on": str(TODAY)}

    explained = await office.get("explain/mrr_bridge", **asked)

    assert {rate["currency"]: (rate["value"], rate["since"]) for rate in explained["rates"]} == {
        "JPY": ("0.006250", str(FIRST)),
        "USD": ("0.500000", str(ON)),
    }
    assert {setting["name"]: setting["value"] for setting in explained["settings"]}.items() >= {
        "currency": "EUR",
        "fx": "daily",
    }.items()
    [value] = explained["values"]
    operands = {operand["name"]: operand["value"] for operand in value["operands"]}
    assert (operands["fx"], value["value"]) == ("-3.000000", "-3.000000")
    assert "currency=EUR" in explained["question"]["address"]
    assert all("currency=EUR" in operand["list"] for operand in value["operands"])


async def test_csv_has_the_converted_values(office: Office) -> None:
    await office.holds(Segment(office.site.id, currency="USD"))

    answer = await office.owner.client.get(
        "/api/v1/metrics/mrr", params={"currency": "EUR", "format": "csv", "end": str(TODAY)}
    )

    assert answer.text.splitlines() == ["on,mrr,reason,complete", f"{TODAY},5.000000,,false"]


PAGES = ("/", "/mrr", "/retention", "/customers", "/mrr/movements", "/explain/mrr", "/explain/mrr_bridge")


@pytest.mark.parametrize("fx", ["daily", "constant"])
async def test_every_page_shows_all_in_one_currency(office: Office, fx: str) -> None:
    await office.holds(
        Segment(office.site.id, id=1, customer_id=1, currency="USD", mrr_micros=100_000_000),
        Segment(office.site.id, id=2, customer_id=2, currency="USD", from_on=ON - 2 * DAY),
        Segment(office.site.id, id=3, customer_id=3, mrr_micros=7_000_000),
    )

    pages = {path: await office.owner.open(f"{path}?currency=reporting&fx={fx}") for path in PAGES}

    assert {path: page.status_code for path, page in pages.items()} == dict.fromkeys(PAGES, 200)
    assert 'data-value="62.000000"' in pages["/"].text
    assert 'aria-current="true">All in EUR' in pages["/"].text
    assert ("Exchange rates" in pages["/mrr"].text) is True
    assert ('data-movement="fx"' in pages["/mrr"].text) is (fx == "daily")
    assert [value in pages["/customers"].text for value in ("50.000000", "5.000000", "7.000000")] == [
        True
    ] * 3
    assert ('data-value="8.000000"' in pages["/mrr/movements"].text) is False
    assert "Rates of the day" in pages["/explain/mrr"].text
    assert "0.500000" in pages["/explain/mrr"].text
    assert "currency=reporting" in pages["/mrr"].text


async def test_native_pages_offer_all_in_one_currency(office: Office) -> None:
    await office.holds(
        Segment(office.site.id, id=1, customer_id=1, currency="USD"),
        Segment(office.site.id, id=2, customer_id=2),
    )

    for path in ("/", "/mrr", "/retention", "/customers"):
        page = await office.owner.open(path)
        assert "All in EUR" in page.text, path
        assert "currency=reporting" in page.text, path
