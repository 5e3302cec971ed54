"""Every entry of the catalogue is complete, and says the same in its formula, its example, in symbols and in words."""

import ast
import operator
from collections.abc import Callable, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.figures.catalogue import BY_SLUG, METRICS
from libs.common.figures.groups import Group
from libs.common.figures.metric import Metric, Reason, Value
from libs.common.figures.operands import CUSTOMERS, MRR, Listing, Operand, Unit
from libs.common.figures.relations import Relation
from services.gateway.api.reference import REFUSALS

REPOSITORY = Path(__file__).resolve().parents[3]
SIGNS: Mapping[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: Fraction,
}

each_metric = pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.slug)


def calculated(written: str, operands: Mapping[Operand, int]) -> Value:
    """Calculate a written formula with exact numbers."""
    numbers = {operand.name: value for operand, value in operands.items()}

    def value(node: ast.expr) -> Any:
        match node:
            case ast.Constant():
                return node.value
            case ast.Name():
                return numbers[node.id]
            case ast.UnaryOp(op=ast.USub()):
                return -value(node.operand)
            case ast.BinOp():
                return SIGNS[type(node.op)](value(node.left), value(node.right))
        raise AssertionError(f"{written}: {ast.dump(node)}")

    result: Value = value(ast.parse(written, mode="eval").body)
    return result


def amounts(metric: Metric, smallest: int = 0) -> st.SearchStrategy[dict[Operand, int]]:
    """Return a strategy for the operands of a metric."""
    return st.fixed_dictionaries({operand: st.integers(smallest, 10**15) for operand in metric.operands})


@each_metric
def test_example_equals_formula(metric: Metric) -> None:
    operands, value = metric.example

    assert set(operands) == set(metric.operands)
    assert metric.formula(operands) == value


@each_metric
@given(data=st.data())
def test_written_formula_equals_formula(metric: Metric, data: st.DataObject) -> None:
    operands = data.draw(amounts(metric, smallest=1))

    assert calculated(metric.written, operands) == metric.formula(operands)


@each_metric
@given(data=st.data())
def test_parts_of_an_additive_metric_sum_to_the_whole(metric: Metric, data: st.DataObject) -> None:
    parts = data.draw(st.lists(amounts(metric, smallest=1), min_size=1, max_size=4))
    whole = {operand: sum(part[operand] for part in parts) for operand in metric.operands}

    if metric.additive:
        values = [metric.formula(part) for part in parts]
        assert metric.formula(whole) == sum(value for value in values if not isinstance(value, Reason))


def test_additive_metrics_are_sums_of_sums() -> None:
    assert {metric.slug for metric in METRICS if metric.additive} == {
        "mrr",
        "arr",
        "subscriptions",
        "paid_mrr",
        "mrr_gap",
        "net_new_mrr",
        "churn_by_cause",
        "mrr_at_risk",
        "scheduled_churn",
        "contracted_mrr",
    }


@each_metric
def test_formula_gives_a_reason_where_it_is_not_defined(metric: Metric) -> None:
    value = metric.formula(dict.fromkeys(metric.operands, 0))

    assert isinstance(value, Reason) or value == 0


@pytest.mark.parametrize(
    "metric", [metric for metric in METRICS if metric.breakdown], ids=lambda metric: metric.slug
)
@given(data=st.data())
def test_breakdown_shows_what_the_formula_sums(metric: Metric, data: st.DataObject) -> None:
    operands = data.draw(amounts(metric))
    assert metric.breakdown is not None

    parts = {
        name: sum(operands[operand] for operand in part)
        for name, part in metric.breakdown.series
        if name not in ("start", "end")
    }

    assert sum(parts.values()) == metric.formula(operands)
    shown = {operand for _, part in metric.breakdown.series for operand in part}
    assert shown == set(metric.operands)


@each_metric
def test_entry_has_words_for_people(metric: Metric) -> None:
    assert metric.title
    assert metric.words.endswith(".")
    assert metric.version >= 1


def test_slugs_and_names_are_unique() -> None:
    operands = {operand for metric in METRICS for operand in metric.operands}

    assert len(BY_SLUG) == len(METRICS)
    assert len({operand.name for operand in operands}) == len(operands)


@each_metric
def test_metric_is_in_docs_and_reference(metric: Metric) -> None:
    page = (REPOSITORY / "docs" / "metrics.md").read_text(encoding="utf-8")
    _, refusal = REFUSALS["metric_unknown"]

    assert f"| `{metric.slug}` |" in page
    assert metric.slug in refusal.rpartition("Choose one of ")[2].rstrip(".").split(", ")


def test_metric_offers_what_all_its_operands_offer() -> None:
    narrow = Relation("", is_additive=True, groups=frozenset({Group.CURRENCY}), filters=frozenset())
    metric = Metric(
        **{
            **{name: getattr(BY_SLUG["arpa"], name) for name in Metric.__slots__},
            "operands": (
                MRR,
                Operand("narrow", "Narrow", Unit.COUNT, narrow, "narrow", "0", Listing.CUSTOMERS),
            ),
        }
    )

    assert metric.groups == (Group.CURRENCY,)
    assert metric.filters == ()
    assert BY_SLUG["arpa"].groups == tuple(Group)
    assert BY_SLUG["arpa"].operands == (MRR, CUSTOMERS)
