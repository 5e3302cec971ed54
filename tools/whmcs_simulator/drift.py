"""How the types of one field vary between actions, rows and versions of WHMCS: deterministic, by the id of the row.

WHMCS developer docs: the samples have ids and counts as text in one action and as numbers in another. Client code, fcs7/whmcs-mcp:
an absent id is "" or 0. inferred: which rows of one answer differ, and amounts as JSON numbers.
"""

from typing import Any, Final, Literal

Drift = Literal["varied", "text", "numbers"]
DRIFTS: Final[tuple[Drift, ...]] = ("varied", "text", "numbers")

_IDS: Final = frozenset((
    "id", "qty", "clientid", "userid", "orderid", "ordernumber", "pid", "gid", "serviceid", "serverid",
    "addonid", "relid", "groupid", "promoid", "regperiod", "invoiceid", "refundid", "currency",
    "allowqty", "ordernum", "taxed", "value", "uses", "recurfor", "dnsmanagement", "idprotection",
    "emailforwarding",
))  # fmt: skip
_AMOUNTS: Final = frozenset((
    "recurringamount", "firstpaymentamount", "setupfee", "amount", "subtotal", "total", "tax", "credit",
    "amountin", "amountout", "fees",
))  # fmt: skip
# Fields in which some rows have an empty text for an absent id.
_MAY_BE_EMPTY: Final = frozenset({"promoid", "orderid", "refundid"})


def drifted(row: dict[str, Any], row_id: int, drift: Drift) -> dict[str, Any]:
    """Return the row with its ids as numbers or as text; the row is changed in place.

    `varied`: two rows in three have ids as text, one in seven amounts as JSON numbers, one in five an empty text for
    an absent id. With `text` and `numbers` all rows have the same types, and amounts are text.
    """
    if drift == "numbers":
        return row
    as_text = drift == "text" or row_id % 3 != 1
    for key, value in row.items():
        if key in _IDS:
            if value == 0 and drift == "varied" and key in _MAY_BE_EMPTY and row_id % 5 == 0:
                row[key] = ""
            elif as_text and type(value) is int:
                row[key] = str(value)
        elif (
            drift == "varied" and row_id % 7 == 3 and key in _AMOUNTS and type(value) is str and "." in value
        ):
            row[key] = float(value)
    return row
