"""The numbers about MRR that may end soon. They are known for the last known day alone. Pure."""

from typing import Final

from libs.common.figures.end_parts import CONDITIONS, EndPart
from libs.common.figures.operands import Listing, Operand, Unit
from libs.common.figures.relations import EXPECTED_ENDS

_TITLES: Final = {
    EndPart.SUSPENDED: "Suspended, but paid ahead",
    EndPart.OVERDUE_1_7: "1 to 7 days overdue",
    EndPart.OVERDUE_8_14: "8 to 14 days overdue",
    EndPart.OVERDUE_15: "15 days overdue or more",
    EndPart.ENDING_30: "Ends within 30 days",
    EndPart.ENDING_90: "Ends within 31 to 90 days",
    EndPart.ENDING_LATER: "Ends later",
    EndPart.ENDING_PAST_DUE: "Not to renew, and past due",
}


def _part(part: EndPart) -> Operand:
    """Return the MRR of a part."""
    return Operand(
        name=part,
        title=_TITLES[part],
        unit=Unit.MONEY,
        relation=EXPECTED_ENDS,
        measure=part,
        sql=f"coalesce(sum(mrr_micros) FILTER (WHERE {CONDITIONS[part]}), 0) / 1e6",
        listing=Listing.EXPECTED_ENDS,
        shown=(("part", part),),
    )


ENDS: Final = {part: _part(part) for part in EndPart}
