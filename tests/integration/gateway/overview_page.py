"""The overview as a person reads it, and books to show on it."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from xml.etree.ElementTree import Element

import html5lib

from tests.integration.gateway.books import (
    FIRST,
    TODAY,
    Segment,
    Site,
    add_instance,
    add_segments,
    add_site,
)
from tests.integration.gateway.conftest import Gateway, Person


class Overview:
    """The page as a person reads it."""

    def __init__(self, text: str) -> None:
        self.root = html5lib.parse(text, namespaceHTMLElements=False)
        self.text = " ".join("".join(self.root.itertext()).split())

    def tiles(self) -> dict[tuple[str, str], str | None]:
        """Return the value of each tile by currency and metric, None where there is none."""
        return self._figures("dl", "dd")

    def table(self) -> dict[tuple[str, str], str | None]:
        """Return the values in the table of all currencies."""
        return self._figures("tr", "td")

    def currencies(self) -> list[str]:
        """Return the addresses of the currencies to choose from."""
        control = element_at(self.root, ".//nav[@aria-label='Currency']")
        return [link.attrib["href"] for link in control.iterfind(".//a")]

    def kinds(self, currency: str) -> dict[str, str | None]:
        """Return the amounts beside the bar of types, by name."""
        kinds = element_at(self.root, f".//ul[@aria-label='MRR by type, {currency}']")
        return {
            kind.attrib["data-name"]: value.get("data-value") if value is not None else None
            for kind in kinds.iterfind("li")
            for value in [kind.find("span[@data-value]")]
        }

    def _figures(self, group: str, cell: str) -> dict[tuple[str, str], str | None]:
        return {
            (figures.attrib["data-currency"], figure.attrib["data-metric"]): figure.get("data-value")
            for figures in self.root.iterfind(f".//{group}[@data-currency]")
            for figure in figures.iterfind(f".//{cell}[@data-metric]")
        }

    def split(self, title: str, currency: str) -> dict[str, str | None]:
        """Return the rows of a panel by name."""
        panel = self.panel(f"{title}, {currency}")
        return {
            row.attrib["data-name"]: value.get("data-value") if value is not None else None
            for row in panel.iterfind(".//tr[@data-name]")
            for value in [row.find("td[@data-value]")]
        }

    def unlisted(self, title: str, currency: str) -> tuple[int, Decimal]:
        """Return how many parts of a panel have no row, and their sum."""
        row = self.panel(f"{title}, {currency}").find(".//tr[@data-unlisted]")
        if row is None:
            return 0, Decimal()
        return int(row.attrib["data-unlisted"]), Decimal(element_at(row, "td").attrib["data-value"])

    def line(self, currency: str) -> list[tuple[str, str]]:
        """Return day and value of each point, oldest first."""
        rows = self.panel(f"MRR by day, {currency}").iterfind(".//tr[@data-x]")
        points = [
            (element_at(row, ".//time").attrib["datetime"], element_at(row, "td").attrib["data-value"])
            for row in rows
        ]
        return points[::-1]

    def panel(self, label: str) -> Element:
        return element_at(self.root, f".//section[@aria-label='{label}']")

    def reasons(self) -> Iterator[str]:
        for reason in self.root.iterfind(".//span[@class='muted reason']"):
            yield "".join(reason.itertext())


def element_at(element: Element, path: str) -> Element:
    child = element.find(path)
    assert child is not None, path
    return child


async def overview(person: Person, **filters: str) -> Overview:
    answer = await person.client.get("/o/nimbus/", params=filters)
    assert answer.status_code == 200, answer.text
    return Overview(answer.text)


async def asked(person: Person, slug: str, *groups: str, start: date = TODAY) -> dict[str, Any]:
    answer = await person.client.get(
        f"/api/v1/metrics/{slug}", params={"start": str(start), "end": str(TODAY), "group_by": list(groups)}
    )
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


def newest(answer: dict[str, Any], group: str, currency: str) -> dict[str, Any]:
    return {
        series["group"][group]: series["points"][-1]["value"]
        for series in answer["series"]
        if series["group"].get("currency", currency) == currency and series["points"]
    }


async def books(gateway: Gateway, owner: Person) -> Site:
    """Store two instances with two currencies, yearly services and domains, addons never read and domains no longer read."""
    ours = owner.organization_id
    main = await add_site(gateway, ours, missing=("domain",), read_at=datetime(2026, 2, 20, 6, tzinfo=UTC))
    other = await add_site(gateway, ours, "Other", missing=("addon",), first_on=FIRST + timedelta(days=3))
    await add_instance(gateway, ours, "Never synced")
    cycles = ("monthly", "annually", "annually", "biennially")
    services = [
        Segment(
            site.id,
            id=number,
            customer_id=number,
            currency=currency,
            mrr_micros=micros + number,
            product=f"service:{number}",
            product_name=f"Package {number}",
            cycle=cycles[number % 4],
        )
        for site, currency, micros, count in ((main, "EUR", 1_333_333, 112), (other, "JPY", 1_400_000, 12))
        for number in range(count)
    ]
    domains = [
        Segment(
            main.id,
            kind="domain",
            id=number,
            mrr_micros=777_777,
            product="domain:.com",
            product_name=".com",
            cycle=f"years_{number}",
        )
        for number in (1, 2)
    ]
    await add_segments(gateway, ours, [*services, *domains])
    return main
