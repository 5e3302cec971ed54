"""PostgreSQL takes every statement that figures can be read with: no text is put together that was not seen here."""

from collections.abc import Iterator, Sequence
from itertools import product

from libs.common.database import raw, transaction
from libs.common.figures import cohort_statements, list_statements, rate_reading, relations
from libs.common.figures.catalogue import METRICS
from libs.common.figures.change_statements import changes_statement
from libs.common.figures.end_list import expected_ends_statement
from libs.common.figures.end_parts import EndPart
from libs.common.figures.groups import Group
from libs.common.figures.relations import RELATIONS, count_statement, groups_statement
from tests.integration.gateway.conftest import Gateway

# Statements are joined from parts that do not depend on each other: each part alone, and all together.
SETS: Sequence[tuple[Group, ...]] = ((), *((group,) for group in Group), tuple(Group))


def statements() -> Iterator[str]:
    for groups, limits in product(SETS, SETS):
        if groups:
            yield count_statement(groups, limits)
            yield groups_statement(groups, limits)
        for relation in RELATIONS:
            for has_changes in (True, False):
                if not relation.is_of_newest_day if has_changes else not relation.is_of_movements:
                    for is_converted in (True, False):
                        yield changes_statement(
                            relation, groups, limits, has_changes=has_changes, is_converted=is_converted
                        )
    for limits, parts in product(SETS, (tuple(EndPart), *((part,) for part in EndPart))):
        yield expected_ends_statement(parts, limits)
    for limits in SETS:
        for is_converted in (True, False):
            yield list_statements.subscriptions_statement(limits, is_converted=is_converted)
            yield list_statements.customers_statement(limits, is_converted=is_converted)
            yield list_statements.customer_changes_statement(limits, is_converted=is_converted)
            yield list_statements.movements_statement(limits, is_converted=is_converted)
        yield list_statements.gaps_statement(limits)
    yield from (relations.strange_value_statement(group) for group in Group)
    yield from (relations.NAMES, relations.PROMOTIONS, relations.COVERAGE, relations.PAID)
    yield from (rate_reading.RATES, rate_reading.WITHOUT_RATE)
    yield from (cohort_statements.COHORT_CHANGES, cohort_statements.COHORT_CUSTOMERS)


async def test_database_takes_every_statement(gateway: Gateway) -> None:
    async with transaction(gateway.context.engine) as connection:
        database = await raw(connection)
        for statement in statements():
            await database.prepare(statement)


def test_every_operand_is_a_measure_of_a_listed_relation() -> None:
    metrics = [*METRICS, *(other for metric in METRICS for other in metric.converted.values())]
    for operand in {operand for metric in metrics for operand in metric.operands if not operand.derived}:
        assert operand.relation in RELATIONS
        assert f"AS {operand.measure}" in operand.relation.summary
