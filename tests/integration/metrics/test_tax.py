"""Prices that include tax: MRR is without it, in records and in lines, and a change of the setting computes all days anew."""

from libs.common.contracts.billing import Kind
from libs.common.contracts.instances import InstanceSettings
from tests.builders import fact, instance, invoice, invoice_lines, subscription
from tests.integration.metrics.conftest import Tables

MRR = "SELECT DISTINCT id, mrr_micros FROM metrics.segments WHERE lens = 'contract' ORDER BY 1, 2"
ISSUES = "SELECT id, reason FROM metrics.issues"
GROSS = {"subtotal_micros": 10_000_000, "tax_micros": 2_300_000, "tax_rate": "23.00"}


async def include_tax(tables: Tables, *, version: int, yes: bool) -> None:
    settings = InstanceSettings(prices_include_tax=yes)
    await tables.add_instance(instance(version, settings=settings))
    await tables.compute()


async def test_setting_takes_tax_out_of_records_at_once(tables: Tables) -> None:
    await tables.take(
        [
            fact(Kind.INVOICE, invoice(1, 7, **GROSS), seq=1),
            fact(Kind.INVOICE, invoice(2, 8), seq=2),
            *(
                fact(Kind.SERVICE, subscription(number, customer, recurring_micros=12_300_000), seq=3)
                for number, customer in ((1, 7), (2, 8))
            ),
        ]
    )
    await tables.apply()
    shown = [await tables.fetch(MRR)]

    for version, yes in ((2, True), (3, False)):
        await include_tax(tables, version=version, yes=yes)
        shown.append(await tables.fetch(MRR))

    gross, net = [(1, 12_300_000), (2, 12_300_000)], [(1, 10_000_000), (2, 12_300_000)]
    assert shown == [gross, net, gross]


async def test_record_continues_its_lines_without_a_movement(tables: Tables) -> None:
    text = "Hosting - site1.example (21/01/2026 - 20/02/2026)"
    billed = {"id": 1, "type": "Hosting", "related_id": 1, "description": text}
    paid = {"amount_micros": 12_300_000, "taxed": True}
    await tables.add_instance(instance(2, settings=InstanceSettings(prices_include_tax=True)))
    service = subscription(1, 7, recurring_micros=12_300_000, registered_on="2026-01-21")
    await tables.take(
        [
            fact(Kind.INVOICE, invoice(1, 7, due_on="2026-01-21", **GROSS), seq=1),
            fact(Kind.INVOICE_LINES, invoice_lines(1, [billed | paid]), seq=2),
            fact(Kind.SERVICE, service, seq=3),
        ]
    )

    await tables.apply(more=[Kind.INVOICE])
    await tables.compute()

    assert await tables.fetch(MRR) == [(1, 10_000_000)]
    assert await tables.fetch(ISSUES) == []
