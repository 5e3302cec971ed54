"""Writes SQL over `metrics_read` that people can read, copy and run, and that gives the value of a figure. Pure."""

import ast
from collections.abc import Collection, Iterable, Iterator
from datetime import date
from typing import Final

from libs.common.figures.groups import KEYS, Group
from libs.common.figures.metric import Metric
from libs.common.figures.questions import ExactQuestion, Scope, day_before
from libs.common.figures.rates import Conversion

# Operands are computed from `customer`.
_OF_A_DAY: Final = """\
live AS (
    SELECT {labels}instance_id AS home, s.customer_id, s.currency AS paid_in, {end_amount} AS mrr_micros
    FROM metrics_read.segments s JOIN metrics_read.coverage c USING (organization_id, instance_id, kind){end_rate}
    WHERE s.lens = '{lens}' AND instance_id IN ({instances}){limits} AND c.first_on <= DATE '{on}'
      AND s.from_on <= least(DATE '{on}', c.last_on)
      AND (s.to_on IS NULL OR s.to_on > least(DATE '{on}', c.last_on))
), customer AS (
    SELECT {names}home, customer_id, sum(mrr_micros) AS mrr_micros, count(*) FILTER (WHERE mrr_micros > 0) AS subscriptions
    FROM live GROUP BY {names}home, customer_id{by_currency}
), """
_OF_A_PERIOD: Final = """\
live AS (
    SELECT {labels}instance_id AS home, s.customer_id, s.currency AS paid_in,
        {start_amount} AS start_micros, {end_amount} AS end_micros,
        c.first_on <= DATE '{before}' AND s.from_on <= least(DATE '{before}', c.last_on)
            AND (s.to_on IS NULL OR s.to_on > least(DATE '{before}', c.last_on)) AS at_start,
        c.first_on <= DATE '{on}' AND s.from_on <= least(DATE '{on}', c.last_on)
            AND (s.to_on IS NULL OR s.to_on > least(DATE '{on}', c.last_on)) AS at_end,
        c.first_on > DATE '{before}' AND c.first_on <= DATE '{on}'
            AND s.from_on <= c.first_on AND (s.to_on IS NULL OR s.to_on > c.first_on) AS is_first_read
    FROM metrics_read.segments s JOIN metrics_read.coverage c USING (organization_id, instance_id, kind){start_rate}{end_rate}
    WHERE s.lens = '{lens}' AND instance_id IN ({instances}){limits}
), customer AS (
    SELECT {names}home, customer_id,
        coalesce(sum(start_micros) FILTER (WHERE at_start), 0) AS mrr_at_start,
        coalesce(sum(end_micros) FILTER (WHERE at_end), 0) AS mrr_micros,
        max(coalesce(sum(end_micros) FILTER (WHERE at_end), 0)) OVER (PARTITION BY {names}home, customer_id) AS most_at_end,
        coalesce(sum(end_micros) FILTER (WHERE is_first_read), 0) AS first_read_micros
    FROM live WHERE at_start OR at_end OR is_first_read GROUP BY {names}home, customer_id{by_currency}
), """
_MOVEMENTS: Final = """\
movement AS (
    SELECT {labels}instance_id AS home, s.customer_id, s."on", s.movement, s.reason, {moved_amount} AS amount_micros,
        s.lens, s.currency AS code
    FROM metrics_read.movements s JOIN metrics_read.coverage c USING (organization_id, instance_id, kind){moved_rate}
    WHERE s.lens = '{lens}' AND instance_id IN ({instances}){limits}
      AND s."on" > greatest(DATE '{before}', c.first_on) AND s."on" <= DATE '{on}'
), """
_OF_DAY: Final = """\
movement_of_day AS (
    SELECT {names}home, customer_id, "on", movement, sum(amount_micros) AS amount
    FROM movement GROUP BY {names}home, customer_id, "on", movement
), """
_OF_STARTER: Final = """\
movement_of_starter AS (
    SELECT m.* FROM movement m
    WHERE EXISTS (
        SELECT FROM metrics_read.customer_days d
        WHERE d.instance_id = m.home AND d.customer_id = m.customer_id AND d.lens = m.lens AND d.after_micros > 0{in_currency}
          AND d."on" <= DATE '{before}' AND (d.next_on IS NULL OR d.next_on > DATE '{before}'))
), """
_EXPECTED_ENDS: Final = """\
expected_end AS (
    SELECT {labels}s.mrr_micros, s.status, s.due_on, s.last_on, s.is_requested
    FROM metrics_read.expected_ends s
    WHERE s.lens = '{lens}' AND instance_id IN ({instances}){limits}
), """
_OF_GAP: Final = """\
gap AS (
    SELECT {labels}s.part, {gap_amount} AS gap_micros
    FROM metrics_read.gaps s JOIN metrics_read.coverage c USING (organization_id, instance_id, kind){end_rate}
    WHERE instance_id IN ({instances}){limits} AND c.first_on <= DATE '{on}'
      AND s.from_on <= least(DATE '{on}', c.last_on)
      AND (s.to_on IS NULL OR s.to_on > least(DATE '{on}', c.last_on))
), """
# An amount in the currency `code` of the instance `home`, from from_on to the day before to_on, is multiplied by numerator / denominator.
_RATES: Final = """\
rate (home, code, from_on, to_on, numerator, denominator) AS (VALUES
    {rows}
), """
_RATE: Final = """
        JOIN rate {rate} ON {rate}.home = s.instance_id AND {rate}.code = s.currency
            AND {rate}.from_on <= {day} AND {day} < {rate}.to_on"""
_CONVERTED: Final = "metrics_read.converted(s.{name}, {rate}.numerator, {rate}.denominator)"
_OPERANDS: Final = """\
of_{rows} AS (
    SELECT {names}{operands} FROM {rows}{by_names}
), """
_VALUES: Final = """operands AS (
    SELECT {names}{zeros} FROM {joined}
)
SELECT {names}{formula} AS {slug} FROM operands"""


def readable_statement(question: ExactQuestion, start: date, on: date, scope: Scope) -> str:
    """Return one statement over `metrics_read` that gives the value of each group on a day or of a period, not rounded.

    Its values are written out. Texts from a caller are among them, as quoted literals.
    """
    metric, names = question.metric, [group.value for group in question.groups]
    used = list(dict.fromkeys(operand.relation.readable for operand in metric.operands))
    instances = [f"'{instance.instance_id}'" for instance in scope.instances]
    values = {
        "labels": "".join(f"{_key(group)} AS {group}, " for group in question.groups),
        "names": "".join(f"{name}, " for name in names),
        "by_names": f" GROUP BY {', '.join(names)}" if names else "",
        "lens": question.lens.value,
        "instances": ", ".join(instances) or "NULL",
        "limits": "".join(_limited(group, values) for group, values in question.limits),
        "before": day_before(start).isoformat(),
        "on": on.isoformat(),
    }
    values |= _amounts(question, day_before(start), on)
    rows = values["rates"] + "".join(text.format(**values) for text in _rows(metric, used))
    sums = "".join(_OPERANDS.format(**values, rows=name, operands=_operands(metric, name)) for name in used)
    joined = f" FULL JOIN of_{{}} USING ({', '.join(names)})" if names else " CROSS JOIN of_{}"
    first, *others = used
    value = _VALUES.format(
        **values,
        zeros=", ".join(
            f"coalesce({operand.name}, 0) AS {operand.name}"
            for operand in metric.operands
            if operand.derived is None
        ),
        joined=f"of_{first}" + "".join(joined.format(name) for name in others),
        formula=_divided_safely(metric.written),
        slug=metric.slug,
    )
    return f"WITH {rows}{sums}{value}"


def _amounts(question: ExactQuestion, before: date, on: date) -> dict[str, str]:
    """Return how amounts are read: in their own currency, or converted by rates that are written out."""
    if question.conversion is None or not question.metric.has_amounts:
        native = {
            "start_amount": "s.mrr_micros",
            "end_amount": "s.mrr_micros",
            "moved_amount": "s.amount_micros",
            "gap_amount": "s.gap_micros",
        }
        in_currency = " AND d.currency = m.code"
        return native | {
            "rates": "",
            "start_rate": "",
            "end_rate": "",
            "moved_rate": "",
            "in_currency": in_currency,
            "by_currency": ", paid_in",
        }
    # Both sides of a gap are rounded by themselves, as in the MRR of their lenses.
    sides = (_CONVERTED.format(name=name, rate="at_end") for name in ("contract_micros", "paid_micros"))
    return {
        "rates": _RATES.format(rows=",\n    ".join(_rates(question.conversion, before, on))),
        "start_amount": _CONVERTED.format(name="mrr_micros", rate="at_start"),
        "end_amount": _CONVERTED.format(name="mrr_micros", rate="at_end"),
        "moved_amount": _CONVERTED.format(name="amount_micros", rate="that_day"),
        "gap_amount": " - ".join(sides),
        "start_rate": _RATE.format(rate="at_start", day=f"DATE '{before}'"),
        "end_rate": _RATE.format(rate="at_end", day=f"DATE '{on}'"),
        "moved_rate": _RATE.format(rate="that_day", day='s."on"'),
        "in_currency": "",
        "by_currency": "",
    }


def _rates(conversion: Conversion, first: date, last: date) -> Iterator[str]:
    """Yield a row for each stretch of days in [first, last] on which amounts in a currency of an instance are multiplied by the same."""
    for (instance_id, code), pair in conversion.pairs.items():
        days = [first, *(day for day in pair.factors.days if first < day <= last)]
        for day, following in zip(days, [*days[1:], date.max], strict=True):
            factor = pair.factors.on(day)
            parts = f"{factor.numerator}, {factor.denominator}"
            yield f"('{instance_id}'::uuid, {_literal(code)}, DATE '{day}', DATE '{following}', {parts})"


def _rows(metric: Metric, used: Collection[str]) -> Iterator[str]:
    """Yield the texts of the rows from which the operands of a metric are computed."""
    if "customer" in used:
        yield _OF_A_PERIOD if metric.is_of_period else _OF_A_DAY
    if "gap" in used:
        yield _OF_GAP
    if "expected_end" in used:
        yield _EXPECTED_ENDS
    if any(name.startswith("movement") for name in used):
        yield _MOVEMENTS
    if "movement_of_day" in used:
        yield _OF_DAY
    if "movement_of_starter" in used:
        yield _OF_STARTER


def _operands(metric: Metric, rows: str) -> str:
    """Return the operands that are computed from rows."""
    return ", ".join(
        f"{operand.sql} AS {operand.name}"
        for operand in metric.operands
        if operand.relation.readable == rows and operand.derived is None
    )


def _key(group: Group) -> str:
    """Return the expression of a key over joined views, which share the columns of the join."""
    return KEYS[group].replace("s.instance_id", "instance_id").replace("s.kind", "kind")


def _limited(group: Group, values: Iterable[str]) -> str:
    literals = ", ".join(_literal(value) for value in values)
    return f"\n      AND {_key(group)} IN ({literals})"


def _literal(text: str) -> str:
    """Return a text as a literal that no character of it can end."""
    return "'" + text.replace("'", "''") + "'"


def _divided_safely(written: str) -> str:
    """Return a written formula as SQL: a quotient whose base is 0 or below is NULL, as the figure has no value."""
    return ast.unparse(_Division().visit(ast.parse(written, mode="eval")))


class _Division(ast.NodeTransformer):
    """Replaces each divisor that is not above 0 by NULL."""

    def visit_BinOp(self, node: ast.BinOp) -> ast.expr:
        self.generic_visit(node)
        if isinstance(node.op, ast.Div):
            base = ast.Call(ast.Name("greatest"), [node.right, ast.Constant(0)], [])
            node.right = ast.Call(ast.Name("nullif"), [base, ast.Constant(0)], [])
        return node
