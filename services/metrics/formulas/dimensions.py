"""The values of a customer and of a product on the days of a span: a change of one ends a segment and starts another."""

from collections.abc import Iterator, Sequence
from datetime import date
from typing import Final, NamedTuple

from services.metrics.formulas.evidence import Dated, Evidence
from services.metrics.formulas.spans import Span, Terms

_NO_VALUES: Final[tuple[Dated, ...]] = ()


class Values(NamedTuple):
    """Everything that is constant within a segment."""

    terms: Terms
    currency: str
    product_group: str | None
    customer_group: str | None
    country: str | None


class Part(NamedTuple):
    """Days [from_on, to_on) of a span with constant values."""

    from_on: date
    to_on: date | None
    values: Values


def parts(evidence: Evidence, span: Span) -> Iterator[Part]:
    """Yield the parts of a span, in order, without the days on which the customer has no currency."""
    terms = span.terms
    dated = (
        evidence.currencies.get(terms.customer_id, _NO_VALUES) if span.currency is None else _NO_VALUES,
        evidence.product_groups.get(terms.product, _NO_VALUES),
        evidence.customer_groups.get(terms.customer_id, _NO_VALUES),
        evidence.countries.get(terms.customer_id, _NO_VALUES),
    )
    from_on = span.from_on
    for to_on in (*_changes(dated, span), span.to_on):
        currency, product_group, customer_group, country = (_value_on(values, from_on) for values in dated)
        currency = span.currency or currency
        if currency is not None:
            yield Part(from_on, to_on, Values(terms, currency, product_group, customer_group, country))
        if to_on is not None:
            from_on = to_on


def _changes(dated: Sequence[Sequence[Dated]], span: Span) -> list[date]:
    """Return the days within a span on which a value may change, in order."""
    if all(len(values) < 2 for values in dated):
        return []
    days = {value.on for values in dated for value in values[1:]}
    return sorted(on for on in days if span.from_on < on and (span.to_on is None or on < span.to_on))


def _value_on(values: Sequence[Dated], on: date) -> str | None:
    """Return the value on a day. Before the first known value that one holds."""
    if not values:
        return None
    value = values[0].value
    for dated in values[1:]:
        if dated.on > on:
            break
        value = dated.value
    return value
