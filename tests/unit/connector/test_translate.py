"""Rows of WHMCS become facts of the contract; a field that cannot be read costs the row only if figures need it."""

import json
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.contracts.billing import Kind, read_body, write_body
from libs.common.contracts.instances import InstanceSettings
from services.connector.changes import UnreadableRow, fact
from services.connector.whmcs import answers
from services.connector.whmcs.answers import Row
from services.connector.whmcs.entities import ACTIONS, ListAction
from services.connector.whmcs.shapes import Translated
from services.connector.whmcs.translate import translate_row
from tests.builders import FIRST_SEEN

SAMPLES = Path(__file__).parents[2] / "contract" / "whmcs"
LONG_CODES = ("ABCDEFGHIJKLMNOP1", "ABCDEFGHIJKLMNOP2")
KINDS = sorted(ACTIONS)
# The fields without which figures would be wrong.
NEEDED = {
    Kind.SERVICE: {"id", "clientid", "status", "billingcycle", "recurringamount"},
    Kind.ADDON: {"id", "userid", "status", "billingcycle", "recurring"},
    Kind.DOMAIN: {"id", "userid", "status", "recurringamount"},
    Kind.CUSTOMER: {"id", "status"},
    Kind.CUSTOMER_DETAIL: {"id"},
    Kind.INVOICE: {"id", "userid", "currencycode", "status", "subtotal", "credit", "tax", "tax2", "total"},
    Kind.INVOICE_LINES: {"invoiceid", "items", "transactions"},
    Kind.TRANSACTION: {"id", "userid", "amountin", "amountout"},
    Kind.PRODUCT: {"pid"},
    Kind.CURRENCY: {"id", "code", "rate"},
    Kind.PROMOTION: {"id"},
    Kind.CANCELLATION_REQUEST: {"id", "relid"},
}
GARBAGE = {"garbage": ["\0", "\ud800"]}
ANY_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(), max_size=700)
    | st.sampled_from(
        ["NaN", "1e300", "1E-30", "9999-12-31", "0000-00-00", "1,234", "-1", "\0", "&#0;", "&#xD800;"]
    )
    | st.from_regex(r"-?[0-9]{1,25}([.,][0-9]{1,25})?", fullmatch=True)
    | st.datetimes().map(str),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=4,
)


def row_of(kind: Kind) -> Row:
    """Return the first row of the official sample of a kind."""
    action = ACTIONS[kind]
    body = json.loads((SAMPLES / f"{action.action}.json").read_text())
    if isinstance(action, ListAction):
        return answers.rows(body, action.plural, action.singular)[0]
    return action.row(body)


def translated(kind: Kind, **values: Any) -> Translated:
    return translate_row(ACTIONS[kind], row_of(kind) | values, InstanceSettings())


def reason(kind: Kind, **values: Any) -> str:
    with pytest.raises(UnreadableRow) as caught:
        translated(kind, **values)
    return caught.value.reason


def content_of(kind: Kind, row: Row) -> dict[str, Any] | None:
    """Return the body that a row becomes; None when it cannot be read, for a reason that people can read."""
    try:
        return translate_row(ACTIONS[kind], row, InstanceSettings()).content
    except UnreadableRow as error:
        if not (0 < len(error.reason) <= 120 and error.reason.isprintable()):
            raise
        return None


@pytest.mark.parametrize("kind", KINDS)
def test_official_sample_becomes_a_fact_of_the_contract(kind: Kind) -> None:
    content, warnings = translated(kind)

    assert read_body(kind, orjson.dumps(content))["id"] == content["id"]
    assert warnings == ()


@pytest.mark.parametrize("kind", KINDS)
def test_row_is_lost_only_for_a_needed_field(kind: Kind) -> None:
    lost = set()
    for column in row_of(kind):
        try:
            translated(kind, **{column: GARBAGE})
        except UnreadableRow:
            lost.add(column)

    assert lost == NEEDED[kind]


@pytest.mark.parametrize("kind", KINDS)
def test_row_with_garbage_elsewhere_is_kept_with_warnings(kind: Kind) -> None:
    row = {column: value if column in NEEDED[kind] else GARBAGE for column, value in row_of(kind).items()}

    content, warnings = translate_row(ACTIONS[kind], row, InstanceSettings())

    assert fact(kind, content, 1, FIRST_SEEN).id == content["id"]
    assert set(warnings).isdisjoint(NEEDED[kind])
    assert len(set(warnings)) == len(warnings)
    assert set(warnings) <= row.keys()


@given(st.data())
def test_every_row_is_refused_or_can_be_stored(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(KINDS))
    row = row_of(kind)
    columns = st.sampled_from(sorted(row))
    row |= data.draw(st.dictionaries(columns, ANY_JSON, max_size=4))
    for column in data.draw(st.sets(columns, max_size=1)):
        del row[column]

    content = content_of(kind, row)
    if content is not None:
        body = write_body(kind, content)
        assert read_body(kind, body) == content
        assert "\0" not in str(orjson.loads(body))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"recurringamount": "12.95x"}, "its amount is no number"),
        ({"recurringamount": ""}, "its amount is no number"),
        ({"clientid": "0"}, "its customer is not the number of a row"),
        ({"status": "s" * 61}, "its status is longer than 60 characters"),
        ({"status": []}, "its status has an unexpected form"),
    ],
)
def test_reason_says_what_is_wrong_without_the_value(values: dict[str, Any], expected: str) -> None:
    assert reason(Kind.SERVICE, **values) == expected


def test_unreadable_row_keeps_its_id_if_that_can_be_read() -> None:
    row = row_of(Kind.SERVICE)
    del row["status"]
    for values, row_id in (({"id": "7"}, 7), ({"id": "x"}, None)):
        with pytest.raises(UnreadableRow) as caught:
            translate_row(ACTIONS[Kind.SERVICE], row | values, InstanceSettings())
        assert caught.value.id == row_id
    assert caught.value.reason == "its id is not the number of a row"


@pytest.mark.parametrize("nothing", ["", None])
def test_empty_status_is_unknown_and_warned_about(nothing: Any) -> None:
    content, warnings = translated(Kind.SERVICE, status=nothing)

    assert (content["status"], warnings) == ("unknown", ("status",))


def test_odd_descriptive_fields_of_a_service_have_defaults() -> None:
    content, warnings = translated(
        Kind.SERVICE,
        promoid=-1,
        qty="1.00",
        firstpaymentamount="N/A",
        regdate="2026-02-31",
        nextduedate="-0001-11-30",
    )

    assert (content["promotion_id"], content["quantity"]) == (None, 1)
    assert (content["first_payment_micros"], content["registered_on"], content["next_due_on"]) == (None,) * 3
    assert sorted(warnings) == ["firstpaymentamount", "regdate"]


def test_service_keeps_no_secret_and_is_unescaped_once() -> None:
    content, _ = translated(
        Kind.SERVICE,
        name="R&amp;amp;D", password="canary", notes="canary", username="canary",
        nextduedate="0000-00-00", billingcycle="Semi-Annually", recurringamount="12.95",
    )  # fmt: skip

    assert "canary" not in str(content)
    assert content["product_name"] == "R&amp;D"
    assert (content["next_due_on"], content["cycle"]) == (None, "semiannually")
    assert content["recurring_micros"] == 12_950_000


def test_name_is_omitted_where_names_are_not_stored() -> None:
    row = {"id": 1, "status": "Active", "companyname": "Example", "firstname": "A", "lastname": "B"}
    customer = ACTIONS[Kind.CUSTOMER]

    assert translate_row(customer, row, InstanceSettings()).content["display_name"] == "Example"
    assert (
        translate_row(customer, row | {"companyname": ""}, InstanceSettings()).content["display_name"]
        == "A B"
    )
    assert translate_row(customer, row, InstanceSettings(store_names=False)).content["display_name"] is None


@pytest.mark.parametrize("nothing", ["0", 0, "", None])
def test_customer_id_is_read_where_it_is_not_empty(nothing: Any) -> None:
    row = {"id": nothing, "userid": nothing, "client_id": "7", "currency_code": []}

    content, warnings = translate_row(ACTIONS[Kind.CUSTOMER_DETAIL], row, InstanceSettings())

    assert (content, warnings) == ({"id": 7, "currency": None, "country": None}, ())


def test_long_currency_codes_never_become_equal() -> None:
    for code in LONG_CODES:
        detail = translated(Kind.CUSTOMER_DETAIL, currency_code=code)
        assert (detail.content["currency"], detail.warnings) == (None, ("currency_code",))
        assert reason(Kind.INVOICE, currencycode=code) == "its currency is longer than 16 characters"
        assert reason(Kind.CURRENCY, code=code) == "its code is longer than 16 characters"
    prices = {code: {"monthly": "5.00"} for code in ("EUR", *LONG_CODES)}
    product = translated(Kind.PRODUCT, pricing=prices)
    assert (product.content["prices"].keys(), product.warnings) == ({"EUR"}, ("pricing",))


def test_product_keeps_the_prices_that_can_be_read() -> None:
    columns = {
        "monthly": "1,234.56",
        "quarterly": "N/A",
        "annually": "-1.00",
        "biennially": "9.00",
        "bsetupfee": "2.00",
    }

    content, warnings = translated(Kind.PRODUCT, paytype="recurring", pricing={"USD": columns, "EUR": []})

    assert content["prices"] == {
        "USD": {
            "monthly": {"recurring_micros": 1_234_560_000, "setup_micros": 0},
            "biennially": {"recurring_micros": 9_000_000, "setup_micros": 2_000_000},
        },
        "EUR": {},
    }
    assert warnings == ("pricing",)


@pytest.mark.parametrize("rate", ["NaN", "Infinity", "1e300", "0.00000", ""])
def test_currency_without_a_usable_rate_cannot_be_read(rate: str) -> None:
    assert translated(Kind.CURRENCY, rate="0.00000050").content["rate"] == "0.00000050"
    assert reason(Kind.CURRENCY, rate=rate).startswith("its rate ")


@pytest.mark.parametrize(
    "status",
    ["Draft", "Unpaid", "Paid", "Cancelled", "Refunded", "Collections", "Payment Pending", "Credited"],
)
def test_invoice_of_any_status_and_sign_is_kept(status: str) -> None:
    content, warnings = translated(Kind.INVOICE, status=status, subtotal="-10.00", total="-12.00", tax=None)

    assert content["status"] == status.lower().replace(" ", "_")
    assert (content["subtotal_micros"], content["total_micros"]) == (-10_000_000, -12_000_000)
    assert (content["tax_micros"], warnings) == (0, ())


def test_invoice_lines_keep_types_signs_and_payments() -> None:
    items = [
        {
            "id": "5",
            "type": "MG_DIS_CHARGE",
            "relid": "x",
            "description": "A &amp; B",
            "amount": "-5.00",
            "taxed": "1",
        },
        {"id": 6, "type": "", "relid": 0, "description": "d" * 600, "amount": "1.00"},
    ]
    payments = [
        {"id": 1, "transid": "canary", "date": "2026-06-03 10:00:00", "gateway": "stripe", "amountin": "9.00", "amountout": "0.00"},
        {"id": 2, "date": "0000-00-00", "amount": "-4.00"},
    ]  # fmt: skip

    content, warnings = translated(
        Kind.INVOICE_LINES, items={"item": items}, transactions={"transaction": payments}
    )

    assert "canary" not in str(content)
    assert [
        (line["type"], line["related_id"], line["amount_micros"], line["taxed"]) for line in content["lines"]
    ] == [
        ("MG_DIS_CHARGE", None, -5_000_000, True),
        ("", None, 1_000_000, False),
    ]
    assert [line["description"] for line in content["lines"]] == ["A & B", "d" * 500]
    assert [(row["in_micros"], row["out_micros"], row["fee_micros"]) for row in content["payments"]] == [
        (9_000_000, 0, 0),
        (0, 4_000_000, 0),
    ]
    assert warnings == ("items.relid",)


@pytest.mark.parametrize("empty", ["", [], {}, None, {"item": []}])
def test_invoice_may_have_no_lines_and_no_payments(empty: Any) -> None:
    content, warnings = translated(Kind.INVOICE_LINES, items=empty, transactions="")

    assert (content["lines"], content["payments"], warnings) == ([], [], ())


def test_one_line_without_an_amount_loses_the_invoice() -> None:
    lone = {"id": 5, "type": "Hosting", "amount": "N/A"}

    assert (
        reason(Kind.INVOICE_LINES, items={"item": lone}) == "a line cannot be read: its amount is no number"
    )
    assert reason(Kind.INVOICE_LINES, transactions="none") == "its payments have an unexpected form"


@pytest.mark.parametrize(("currency", "warnings"), [("0", ()), (0, ()), ("3", ("currency",))])
def test_transaction_has_the_currency_of_its_customer(currency: Any, warnings: tuple[str, ...]) -> None:
    row = translated(Kind.TRANSACTION, currency=currency, userid="0", transid="canary", description="canary")

    assert "canary" not in str(row.content)
    assert (row.content["currency"], row.content["customer_id"], row.warnings) == (None, None, warnings)


def test_row_that_is_too_large_becomes_no_fact() -> None:
    items = [{"id": number, "description": "é" * 500, "amount": "1"} for number in range(1, 1000)]
    content, _ = translated(Kind.INVOICE_LINES, items=items)

    with pytest.raises(UnreadableRow, match="it is too large"):
        fact(Kind.INVOICE_LINES, content, 1, FIRST_SEEN)
