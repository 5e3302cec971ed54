"""Lines that nobody expects: whatever WHMCS, its modules and its staff write, the periods are ordered and nothing raises."""

from datetime import date
from fractions import Fraction
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from libs.common.contracts.definitions import Definitions
from services.metrics.formulas.date_formats import DateOrder
from services.metrics.formulas.invoices import Invoice, Item, Line, LineRules, Payment
from services.metrics.formulas.paid_periods import paid_periods

IDS = st.integers(0, 3)
AMOUNTS = st.one_of(
    st.integers(-(2**63), 2**63 - 1), st.integers(-20, 20).map(lambda number: number * 500_000)
)
DAYS = st.one_of(st.none(), st.dates(), st.dates(date(2025, 1, 1), date(2026, 12, 31)))
TYPES = st.sampled_from(
    [
        "Hosting",
        "hosting",
        "Addon",
        "Domain",
        "DomainRegister",
        "Setup",
        "PromoHosting",
        "PromoDomain",
        "Upgrade",
        "Item",
        "Invoice",
        "AddFunds",
        "LateFee",
        "GroupDiscount",
        "",
        "MG_DIS_CHARGE",
    ]
)
FRAGMENTS = st.sampled_from(
    [
        "Web Plus",
        "Web Starter",
        " - ",
        " => ",
        "example.com",
        "\n",
        "(",
        ")",
        ": ",
        " x 5",
        "10 Year/s",
        "FOREVER",
        "(01/02/2026 - 28/02/2026)",
        "(02/01/2026 - 02/28/2026)",
        "(2026-01-31 - 2026-02-27)",
        "(9999-01-01 - 9999-12-31)",
        "(01/01/1971 - 31/12/2200)",
        "(00/00/0000 - 00/00/0000)",
        "(1st May 2026 - 2nd May 2026)",
    ]
)
DESCRIPTIONS = st.one_of(st.text(max_size=30), st.lists(FRAGMENTS, max_size=6).map("".join))
RATES = st.sampled_from([Fraction(0), Fraction(21), Fraction(-100), Fraction(15, 2)])
LINES = st.lists(
    st.builds(
        Line, st.integers(1, 30), TYPES, st.one_of(st.none(), IDS), DESCRIPTIONS, AMOUNTS, st.booleans()
    ),
    max_size=5,
)
PAYMENTS = st.lists(st.builds(Payment, DAYS, AMOUNTS, AMOUNTS), max_size=3)
INVOICES = st.builds(
    Invoice,
    id=st.integers(0, 50),
    customer_id=IDS,
    currency=st.sampled_from(["EUR", "JPY"]),
    status=st.sampled_from(["paid", "refunded", "unpaid", "collections", "cancelled", "unknown"]),
    issued_on=DAYS,
    due_on=DAYS,
    paid_on=DAYS,
    refunded_on=DAYS,
    cancelled_on=DAYS,
    subtotal_micros=AMOUNTS,
    credit_micros=AMOUNTS,
    tax_micros=AMOUNTS,
    tax2_micros=AMOUNTS,
    total_micros=AMOUNTS,
    tax_rate=RATES,
    tax_rate2=RATES,
    lines=st.one_of(st.none(), LINES.map(tuple)),
    payments=PAYMENTS.map(tuple),
)
ITEMS = st.builds(
    Item,
    kind=st.sampled_from(["service", "addon", "domain"]),
    id=IDS,
    customer_id=IDS,
    cycle=st.sampled_from(["monthly", "annually", "years_10", "years_99", "one_time", "free", "unknown"]),
    recurring_micros=AMOUNTS,
    label=st.one_of(st.none(), st.sampled_from(["", "example.com"])),
    product=st.just("service:1"),
    product_name=st.one_of(st.none(), st.sampled_from(["", "Web Plus"])),
    registered_on=DAYS,
)
RULES = st.builds(
    LineRules,
    date_order=st.sampled_from([None, *DateOrder]),
    definitions=st.builds(
        Definitions,
        service_grace_days=st.integers(0, 90),
        addon_grace_days=st.integers(0, 90),
        domain_grace_days=st.integers(0, 90),
    ),
    prices_include_tax=st.booleans(),
    promotions=st.just({"FOREVER": True, "": False}),
    products=st.just({"Web Plus": "service:1", "": "service:2"}),
)


@given(st.lists(INVOICES, max_size=8), st.lists(ITEMS, max_size=4), RULES)
def test_any_lines_give_ordered_periods(invoices: list[Invoice], items: list[Item], rules: LineRules) -> None:
    result = paid_periods(invoices, items, rules)

    for periods in result.of_subscription.values():
        assert all(period.from_on < period.to_on for period in periods)
        assert all(period.to_on <= other.from_on for period, other in pairwise(periods))
        assert all(max(abs(period.mrr_micros), abs(period.amount_micros)) < 2**63 for period in periods)
