"""The judge of history accepts a history that is equal, and notices each way in which one can differ."""

from collections import Counter
from datetime import date

import pytest

from libs.common.contracts.billing import SHAPES, Kind, parse_fact_key
from tests.history.comparison import Book, compare, verdict
from tests.history.facts import first_sync
from tools.whmcs_simulator.company import Company
from tools.whmcs_simulator.history import Span, true_spans
from tools.whmcs_simulator.life import build_company
from tools.whmcs_simulator.profiles import LIVES, MODERN, Profile

TODAY = date(2026, 3, 1)


@pytest.fixture(scope="module")
def company() -> Company:
    return build_company(1, 120, 5, TODAY, MODERN)


def changed(spans: list[Span], **values: int) -> list[Span]:
    """Return the history with another longest span that counts today."""
    place = max(range(len(spans)), key=lambda n: (spans[n].to_on > TODAY.toordinal(), spans[n].mrr_micros))
    return [*spans[:place], spans[place]._replace(**values), *spans[place + 1 :]]


def judged(company: Company, actual: list[Span]) -> Book:
    return compare(company, true_spans(company), true_spans(company), actual)


def test_equal_history_is_good(company: Company) -> None:
    book = judged(company, true_spans(company))

    assert verdict([book]).is_good
    assert (set(book.months.values()), book.equal_customers, book.examples) == ({0.0}, book.customers, [])
    assert book.customers > 50
    assert all(want == have > 0 for kind, (want, have) in book.movements.items() if kind != "moved")


def test_wrong_price_of_one_subscription_is_noticed(company: Company) -> None:
    book = judged(company, changed(true_spans(company), mrr_micros=1))

    assert not verdict([book]).is_good
    assert (book.customers - book.equal_customers, book.today_is_equal) == (1, False)
    assert "expected" in book.examples[0]
    assert book.product_from_truth.share > book.reader_from_truth.share == 0


def test_wrong_owner_is_noticed(company: Company) -> None:
    book = judged(company, changed(true_spans(company), customer_id=1))

    assert max(book.months.values()) > 0.005
    assert not book.today_is_equal


def test_missing_past_is_noticed_although_today_is_equal(company: Company) -> None:
    recent = [s._replace(from_on=company.today) for s in true_spans(company) if s.to_on > company.today]

    book = judged(company, recent)

    assert book.today_is_equal
    assert not verdict([book]).is_good
    assert min(book.months.values()) >= 1.0


@pytest.mark.parametrize("profile", LIVES, ids=lambda profile: profile.name)
def test_first_sync_reads_every_row(profile: Profile) -> None:
    company = build_company(2, 60, 5, TODAY, profile)

    kinds = Counter(parse_fact_key(record.key.decode())[1] for record in first_sync(company))

    assert kinds.keys() == SHAPES.keys() - {Kind.TRANSACTION}
    assert kinds[Kind.INVOICE_LINES] == kinds[Kind.INVOICE] == len(company.invoices)
    assert kinds[Kind.CUSTOMER_DETAIL] == kinds[Kind.CUSTOMER] == len(company.customers)
    assert kinds[Kind.SERVICE] == len(company.services)
