"""docs/whmcs.md says of each status and cycle of WHMCS what the code makes of it."""

import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

import pytest

from libs.common.contracts.billing import Kind, cycle_months
from libs.common.contracts.issues import IssueReason
from libs.common.contracts.lenses import Lens
from services.connector.changes import OPEN_STATUSES
from services.connector.whmcs import fields
from services.metrics.formulas.evidence import Dated, Evidence, Observation
from services.metrics.formulas.timeline import timeline
from tests.builders import FIRST_SEEN

PAGE = (Path(__file__).parents[3] / "docs" / "whmcs.md").read_text(encoding="utf-8")
KINDS = {
    "services and addons": (Kind.SERVICE, Kind.ADDON),
    "domains": (Kind.DOMAIN,),
    "services, addons and domains": (Kind.SERVICE, Kind.ADDON, Kind.DOMAIN),
}


class Line(NamedTuple):
    """One status or cycle of a table."""

    of: str
    written: str
    stored: str
    meaning: str


def lines(table: str) -> Iterator[Line]:
    block = PAGE.partition(f"<!-- {table} -->")[2].partition("<!--")[0]
    for line in block.strip().splitlines()[2:]:
        *of, written, stored, meaning = (cell.strip() for cell in line.strip("|").split("|"))
        if " to " in written:
            continue
        texts = re.sub(r", or any other.*", "", written).split(", ")
        words = re.findall(r"`(\w+)`", stored)
        for text, word in zip(texts, words if len(words) > 1 else words * len(texts), strict=True):
            yield Line("".join(of), "" if text == "nothing" else text, word, meaning)


STATUSES = list(lines("statuses"))
CYCLES = list(lines("cycles"))


@pytest.mark.parametrize("line", STATUSES, ids=lambda line: f"{line.of}-{line.written}")
def test_page_names_the_stored_status(line: Line) -> None:
    assert fields.status(line.written) == line.stored


@pytest.mark.parametrize(
    "line", [line for line in STATUSES if line.of in KINDS], ids=lambda line: f"{line.of}-{line.written}"
)
def test_page_names_the_lenses_of_a_status(line: Line) -> None:
    today = FIRST_SEEN.date()
    state = Observation(
        on=today,
        customer_id=7,
        status=line.stored,
        cycle="monthly",
        recurring_micros=5_000_000,
        registered_on=today - timedelta(days=90),
        next_due_on=today + timedelta(days=20),
        product="service:1",
        product_name=None,
    )
    for kind in KINDS[line.of]:
        result = timeline(Evidence(kind, [state], currencies={7: [Dated(today, "EUR")]}))

        named = set(re.findall(r"`(\w+)`", line.meaning)) & set(Lens)
        assert {segment.lens for segment in result.segments} == named
        is_listed = IssueReason.STATUS_UNKNOWN in result.issues
        assert is_listed == (f"`{IssueReason.STATUS_UNKNOWN}`" in line.meaning)


def test_page_names_the_invoices_that_are_open() -> None:
    named = {line.stored for line in STATUSES if line.of == "invoices" and line.meaning.startswith("open")}

    assert named == OPEN_STATUSES


@pytest.mark.parametrize("line", CYCLES, ids=lambda line: line.written)
def test_page_names_the_stored_cycle_and_its_months(line: Line) -> None:
    months = cycle_months(line.stored)

    assert fields.cycle(line.written) == line.stored
    assert line.meaning.split()[0] == str(months) if months else not line.meaning[0].isdigit()
