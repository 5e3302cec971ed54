"""Writes SQL over `metrics_read` that people can read, copy and run, and that gives the value of a figure. Pure."""

import ast
from collections.abc import Iterable
from datetime import date
from typing import Final

from libs.common.figures.groups import KEYS, Group
from libs.common.figures.questions import ExactQuestion, Scope, day_before

# Operands are computed from `customer`.
_OF_A_DAY: Final = """\
WITH live AS (
    SELECT {labels}instance_id AS home, s.customer_id, s.mrr_micros
    FROM metrics_read.segments s JOIN metrics_read.coverage c USING (organization_id, instance_id, kind)
    WHERE s.lens = '{lens}' AND instance_id IN ({instances}){limits} AND c.first_on <= DATE '{on}'
      AND s.from_on <= least(DATE '{on}', c.last_on)
      AND (s.to_on IS NULL OR s.to_on > least(DATE '{on}', c.last_on))
), customer AS (
    SELECT {names}home, customer_id, sum(mrr_micros) AS mrr_micros, count(*) AS subscriptions
    FROM live GROUP BY {names}home, customer_id
), """
_OF_A_PERIOD: Final = """\
WITH live AS (
    SELECT {labels}instance_id AS home, s.customer_id, s.mrr_micros,
        c.first_on <= DATE '{before}' AND s.from_on <= least(DATE '{before}', c.last_on)
            AND (s.to_on IS NULL OR s.to_on > least(DATE '{before}', c.last_on)) AS at_start,
        c.first_on <= DATE '{on}' AND s.from_on <= least(DATE '{on}', c.last_on)
            AND (s.to_on IS NULL OR s.to_on > least(DATE '{on}', c.last_on)) AS at_end
    FROM metrics_read.segments s JOIN metrics_read.coverage c USING (organization_id, instance_id, kind)
    WHERE s.lens = '{lens}' AND instance_id IN ({instances}){limits}
), customer AS (
    SELECT {names}home, customer_id,
        coalesce(sum(mrr_micros) FILTER (WHERE at_start), 0) AS mrr_at_start,
        coalesce(sum(mrr_micros) FILTER (WHERE at_end), 0) AS mrr_micros,
        count(*) FILTER (WHERE at_start) AS subscriptions_at_start,
        count(*) FILTER (WHERE at_end) AS subscriptions
    FROM live WHERE at_start OR at_end GROUP BY {names}home, customer_id
), """
_VALUES: Final = """operands AS (
    SELECT {names}{operands} FROM customer{by_names}
)
SELECT {names}{formula} AS {slug} FROM operands"""
_INSTANCE: Final = "instance_id"


def readable_statement(question: ExactQuestion, start: date, on: date, scope: Scope) -> str:
    """Return one statement over `metrics_read` that gives the value of each group on a day or of a period, not rounded.

    Its values are written out. Texts from a caller are among them, as quoted literals.
    """
    metric, groups = question.metric, question.groups
    names = [group.value for group in groups]
    instances = [f"'{instance.instance_id}'" for instance in scope.instances]
    return f"{_OF_A_PERIOD if metric.is_of_period else _OF_A_DAY}{_VALUES}".format(
        labels="".join(f"{_key(group)} AS {group}, " for group in groups),
        names="".join(f"{name}, " for name in names),
        by_names=f" GROUP BY {', '.join(names)}" if names else "",
        lens=scope.lens.value,
        instances=", ".join(instances) or "NULL",
        limits="".join(_limited(group, values) for group, values in question.limits),
        before=day_before(start).isoformat(),
        on=on.isoformat(),
        operands=", ".join(f"{operand.sql} AS {operand.name}" for operand in metric.operands),
        formula=_divided_safely(metric.written),
        slug=metric.slug,
    )


def _key(group: Group) -> str:
    """Return the expression of a key over joined views, which share the columns of the join."""
    return KEYS[group].replace("s.instance_id", _INSTANCE).replace("s.kind", "kind")


def _limited(group: Group, values: Iterable[str]) -> str:
    literals = ", ".join(_literal(value) for value in values)
    return f"\n      AND {_key(group)} IN ({literals})"


def _literal(text: str) -> str:
    """Return a text as a literal that no character of it can end."""
    return "'" + text.replace("'", "''") + "'"


def _divided_safely(written: str) -> str:
    """Return a written formula as SQL: a quotient without a base is NULL, not an error."""
    return ast.unparse(_Division().visit(ast.parse(written, mode="eval")))


class _Division(ast.NodeTransformer):
    """Puts each divisor into nullif()."""

    def visit_BinOp(self, node: ast.BinOp) -> ast.expr:
        self.generic_visit(node)
        if isinstance(node.op, ast.Div):
            node.right = ast.Call(ast.Name("nullif"), [node.right, ast.Constant(0)], [])
        return node
