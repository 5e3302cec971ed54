"""After a first sync the product tells the past of a company, and later syncs do not move it."""

from datetime import date, timedelta

from tests.builders import FIRST_SEEN
from tests.history.comparison import without_discounts
from tests.history.facts import Bodies
from tests.history.product import empty_product, shown_spans, sync
from tests.ideal_reader.distance import items_on
from tests.servers import Postgres
from tools.whmcs_simulator.history import Span, true_spans
from tools.whmcs_simulator.life import advance, build_company
from tools.whmcs_simulator.profiles import MODERN

DAYS = 25
TODAY = FIRST_SEEN.date() - timedelta(days=DAYS)


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

    truth = without_discounts(true_spans(company))
    for day in range(TODAY.toordinal(), company.today + 1):
        assert items_on(last, day) == items_on(truth, day), date.fromordinal(day)
    assert before(last, TODAY) == before(first, TODAY)


def before(spans: list[Span], on: date) -> list[Span]:
    """Return the parts of the spans before a day."""
    day = on.toordinal()
    return [span._replace(to_on=min(span.to_on, day)) for span in spans if span.from_on < day]
