"""PostgreSQL takes every statement that figures can be read with: no text is put together that was not seen here."""

from collections.abc import Iterator
from itertools import combinations

from libs.common.database import raw, transaction
from libs.common.figures import relations
from libs.common.figures.catalogue import METRICS
from libs.common.figures.relations import RELATIONS, Group, changes_statement, count_statement
from tests.integration.gateway.conftest import Gateway

SETS = [groups for size in range(len(Group) + 1) for groups in combinations(Group, size)]


def statements() -> Iterator[str]:
    for groups in SETS:
        if groups:
            yield count_statement(groups)
        for relation in RELATIONS:
            for has_changes in (True, False):
                yield changes_statement(relation, groups, has_changes=has_changes)
    yield from (relations.SUBSCRIPTIONS, relations.CUSTOMERS, relations.CUSTOMER_CHANGES_LIST)
    yield from (relations.NAMES, relations.COVERAGE)


async def test_database_takes_every_statement(gateway: Gateway) -> None:
    async with transaction(gateway.context.engine) as connection:
        database = await raw(connection)
        for statement in statements():
            await database.prepare(statement)


def test_every_operand_is_a_measure_of_a_listed_relation() -> None:
    for operand in {operand for metric in METRICS for operand in metric.operands}:
        assert operand.relation in RELATIONS
        assert f"AS {operand.measure}" in operand.relation.summary
