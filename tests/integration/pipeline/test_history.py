"""After a first sync the product tells five years of a company as the ideal reader does, and later syncs do not move them."""

from collections import Counter
from datetime import date, timedelta

import pytest

from tests.builders import FIRST_SEEN
from tests.history.comparison import compare, verdict
from tests.history.facts import Bodies
from tests.history.product import empty_product, product_spans, shown_movements, shown_spans, sync
from tests.ideal_reader.distance import as_spans, items_on
from tests.ideal_reader.reader import history
from tests.ideal_reader.shown import read
from tests.servers import Postgres
from tools.whmcs_simulator.company import Company
from tools.whmcs_simulator.history import Span, movements, true_spans
from tools.whmcs_simulator.life import advance, build_company
from tools.whmcs_simulator.profiles import LIVES, MODERN, Profile

# The first seeds, whatever their lives hold. `python -m tests.history` judges more lives.
SEEDS = range(1, 5)
DAYS = 25
LIFE = 240
TODAY = FIRST_SEEN.date() - timedelta(days=DAYS)


@pytest.mark.parametrize("profile", LIVES, ids=lambda profile: profile.name)
async def test_first_sync_tells_what_the_ideal_reader_tells(postgres: Postgres, profile: Profile) -> None:
    books = []
    for seed in SEEDS:
        company = build_company(seed, 100, 5, FIRST_SEEN.date(), profile)
        with postgres.fresh_database() as database:
            actual = await product_spans(database, company)
        truth, expected = true_spans(company), as_spans(history(read(company)))
        books.append(compare(company, truth, expected, actual))

    assert verdict(books).is_good, [verdict(books), *books[0].examples]


async def test_later_syncs_do_not_move_the_past(postgres: Postgres) -> None:
    company = build_company(4, 120, 5, TODAY, MODERN)
    bodies: Bodies = {}
    with postgres.fresh_database() as database:
        async with empty_product(database) as tables:
            bodies = await sync(tables, company, bodies, epoch=1)
            first = await shown_spans(tables, company)
            for epoch in range(2, DAYS + 2):
                advance(company, 1)
                bodies = await sync(tables, company, bodies, epoch=epoch)
            last = await shown_spans(tables, company)

    truth = true_spans(company)
    for day in range(TODAY.toordinal(), company.today + 1):
        assert items_on(last, day) == items_on(truth, day), date.fromordinal(day)
    assert before(last, TODAY) == before(first, TODAY)


@pytest.mark.parametrize("profile", LIVES, ids=lambda profile: profile.name)
async def test_company_seen_from_its_first_day_has_no_error(postgres: Postgres, profile: Profile) -> None:
    company = new_company(profile)
    days = range(company.today + 1, FIRST_SEEN.date().toordinal() + 1)
    bodies: Bodies = {}
    with postgres.fresh_database() as database:
        async with empty_product(database) as tables:
            for epoch, _ in enumerate(days, 1):
                advance(company, 1)
                bodies = await sync(tables, company, bodies, epoch=epoch)
            spans, moved = await shown_spans(tables, company), await shown_movements(tables)

    truth = true_spans(company)
    for day in days:
        assert items_on(spans, day) == items_on(truth, day), date.fromordinal(day)
    assert moved == sorted(movements(truth, company.today), key=lambda row: (row.on, row.account, row.kind))
    assert {row.kind for row in moved} >= {"new_business", "expansion", "contraction", "churn"}


def new_company(profile: Profile) -> Company:
    """Return a company that opens some months before the last day, and gets a customer every second day."""
    last = FIRST_SEEN.date().toordinal()
    company = Company(1, last - LIFE, profile)
    company.sign_ups = Counter(range(company.today + 1, last, 2))
    company.grows_by_plan_until = last
    return company


def before(spans: list[Span], on: date) -> list[Span]:
    """Return the parts of the spans before a day."""
    day = on.toordinal()
    return [span._replace(to_on=min(span.to_on, day)) for span in spans if span.from_on < day]
