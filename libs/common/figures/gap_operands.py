"""The numbers about what invoices paid: MRR by the lens `paid`, and the parts of its gap to MRR by contract."""

from typing import Final

from libs.common.contracts.gaps import GAP_WORDS, GapPart
from libs.common.figures.operands import Listing, Operand, Unit
from libs.common.figures.relations import GAPS, PAID_BALANCES

PAID_MRR: Final = Operand(
    name="paid_mrr",
    title="Paid MRR",
    unit=Unit.MONEY,
    relation=PAID_BALANCES,
    measure="mrr_micros",
    sql="sum(mrr_micros) / 1e6",
    listing=Listing.SUBSCRIPTIONS,
)


def _part(part: GapPart) -> Operand:
    return Operand(
        name=part.value,
        title=GAP_WORDS[part].title,
        unit=Unit.MONEY,
        relation=GAPS,
        measure=part.value,
        sql=f"coalesce(sum(gap_micros) FILTER (WHERE part = '{part}'), 0) / 1e6",
        listing=Listing.GAPS,
        shown=(("part", part.value),),
    )


GAP_PARTS: Final = {part: _part(part) for part in GapPart}
