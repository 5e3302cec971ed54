"""Store the facts of a batch and mark the customers whose figures they change, in a fixed number of statements."""

from collections.abc import Sequence

from services.metrics.formulas.currency import CURRENCY_KINDS, currency_marks
from services.metrics.formulas.facts import Fact, newest_of
from services.metrics.repository import marks, records, versions
from services.metrics.repository.driver import Connection


async def store_facts(database: Connection, facts: Sequence[Fact]) -> int:
    """Store facts, of which a row may have several, and return how many records changed."""
    if not facts:
        return 0
    # The statements below read rows, then write them, then decide by both. The lock keeps other transactions out in between.
    await marks.lock(database, facts)
    without_customer = await versions.store(database, facts)
    await marks.add_through_owners(database, without_customer)
    newest = newest_of(facts)
    currency_facts = [fact for fact in newest if fact.kind in CURRENCY_KINDS]
    customers = {customer for fact in currency_facts if (customer := fact.customer)}
    invoices = await records.read_newest_invoices(database, customers)
    stored = await records.store(database, newest)
    await marks.add(database, currency_marks(currency_facts, stored.before, invoices))
    return stored.changed
