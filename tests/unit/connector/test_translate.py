"""Rows of WHMCS become facts of the contract, and unreadable ones are refused."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.contracts.billing import ADAPTERS, Kind
from libs.common.contracts.instances import InstanceSettings
from services.connector.whmcs import answers, translate
from services.connector.whmcs.entities import LISTS, ListAction

SAMPLES = Path(__file__).parents[2] / "contract" / "whmcs"
LONG_CODES = ("ABCDEFGHIJKLMNOP1", "ABCDEFGHIJKLMNOP2")


def rows_of(action: ListAction) -> list[dict[str, Any]]:
    body = json.loads((SAMPLES / f"{action.action}.json").read_text())
    return answers.rows(body, action.plural, action.singular)


def first_row(kind: Kind) -> tuple[ListAction, dict[str, Any]]:
    action = next(action for action in LISTS if action.kind is kind)
    return action, rows_of(action)[0]


@pytest.mark.parametrize("action", LISTS, ids=lambda action: action.action)
def test_official_sample_becomes_facts_of_the_contract(action: ListAction) -> None:
    rows = rows_of(action)

    assert rows
    for row in rows:
        content = orjson.dumps(action.translate(row, InstanceSettings()))
        ADAPTERS[action.kind].validate_json(content)


@given(st.decimals(min_value=-(10**9), max_value=10**9, places=2))
def test_money_is_exact_in_micros(amount: Decimal) -> None:
    assert translate.micros(str(amount)) == amount * 1_000_000


@pytest.mark.parametrize("text", ["", "12,95", "nan", "inf", "1e400", "$5", None])
def test_text_that_is_no_amount_is_refused(text: Any) -> None:
    with pytest.raises((ValueError, TypeError)):
        translate.micros(text)


@pytest.mark.parametrize("value", [[], {"a": 1}, "x" * 1000, 1.5], ids=["list", "object", "long", "number"])
def test_cycle_of_any_shape_is_unknown(value: Any) -> None:
    assert translate.cycle(value) == "unknown"


def test_empty_list_in_place_of_a_text_counts_as_empty() -> None:
    _, row = first_row(Kind.DOMAIN)

    assert translate.domain(row | {"donotrenew": []})["renews"]
    assert translate.customer_detail({"id": 7, "currency_code": []})["currency"] is None


@pytest.mark.parametrize("value", ["", " ", None])
def test_invoice_without_a_currency_cannot_be_read(value: Any) -> None:
    _, row = first_row(Kind.INVOICE)

    with pytest.raises(ValueError, match="currency"):
        translate.invoice(row | {"currencycode": value})


def test_service_keeps_no_secret_and_is_unescaped_once() -> None:
    service, row = first_row(Kind.SERVICE)
    row |= {"name": "R&amp;amp;D", "password": "canary", "notes": "canary", "username": "canary"}
    row |= {"nextduedate": "0000-00-00", "billingcycle": "Semi-Annually", "recurringamount": "12.95"}

    content: Any = service.translate(row, InstanceSettings())

    assert "canary" not in str(content)
    assert content["product_name"] == "R&amp;D"
    assert (content["next_due_on"], content["cycle"]) == (None, "semiannually")
    assert content["recurring_micros"] == 12_950_000


def test_name_is_omitted_where_names_are_not_stored() -> None:
    row = {"id": 1, "status": "Active", "companyname": "Example", "firstname": "A", "lastname": "B"}

    assert translate.customer(row, store_names=True)["display_name"] == "Example"
    assert translate.customer(row, store_names=False)["display_name"] is None


@pytest.mark.parametrize("nothing", ["", None])
def test_domain_without_a_name_has_no_label(nothing: Any) -> None:
    _, row = first_row(Kind.DOMAIN)

    assert translate.domain(row | {"domainname": nothing})["label"] is None


@pytest.mark.parametrize("nothing", ["0", 0, "", None, "0.00", 0.0, [], -1, "-1"])
def test_value_that_php_finds_empty_refers_to_nothing(nothing: Any) -> None:
    _, row = first_row(Kind.SERVICE)

    content = translate.service(row | {"promoid": nothing, "pid": nothing})

    assert (content["promotion_id"], content["product_id"]) == (None, None)


@pytest.mark.parametrize("nothing", ["0", 0, "", None, "0.00"])
def test_empty_quantity_is_one(nothing: Any) -> None:
    _, row = first_row(Kind.SERVICE)

    assert translate.service(row | {"qty": nothing})["quantity"] == 1


@pytest.mark.parametrize("nothing", ["0", 0, "", None])
def test_customer_id_is_read_where_it_is_not_empty(nothing: Any) -> None:
    row = {"id": nothing, "userid": nothing, "client_id": "7", "currency_code": "EUR"}

    assert translate.customer_detail(row)["id"] == 7


@pytest.mark.parametrize("nothing", ["0", 0, "", None, "0.00"])
def test_service_without_a_customer_cannot_be_read(nothing: Any) -> None:
    _, row = first_row(Kind.SERVICE)

    with pytest.raises((ValueError, TypeError)):
        translate.service(row | {"clientid": nothing})


def test_long_currency_codes_never_become_equal() -> None:
    _, invoice = first_row(Kind.INVOICE)
    _, currency = first_row(Kind.CURRENCY)
    _, product = first_row(Kind.PRODUCT)
    prices = {code: {"monthly": "5.00"} for code in ("EUR", *LONG_CODES)}

    for code in LONG_CODES:
        assert translate.customer_detail({"id": 7, "currency_code": code})["currency"] is None
        with pytest.raises(ValueError, match="currency"):
            translate.invoice(invoice | {"currencycode": code})
        with pytest.raises(ValueError, match="currency"):
            translate.currency(currency | {"code": code})
    assert translate.product(product | {"pricing": prices})["prices"].keys() == {"EUR"}


@pytest.mark.parametrize(
    ("kind", "column", "field"),
    [
        (Kind.SERVICE, "name", "product_name"),
        (Kind.SERVICE, "groupname", "product_group_name"),
        (Kind.SERVICE, "domain", "label"),
        (Kind.SERVICE, "paymentmethod", "payment_method"),
        (Kind.SERVICE, "billingcycle", "cycle_text"),
        (Kind.ADDON, "name", "product_name"),
        (Kind.DOMAIN, "domainname", "label"),
        (Kind.PRODUCT, "name", "name"),
        (Kind.INVOICE, "invoicenum", "number"),
        (Kind.PROMOTION, "code", "code"),
    ],
)
def test_long_names_that_identify_never_become_equal(kind: Kind, column: str, field: str) -> None:
    action, row = first_row(kind)

    def read(name: str) -> Any:
        return action.translate(row | {column: name}, InstanceSettings())[field]

    assert read("n" * 499) == "n" * 499
    shortened = [read("n" * 500), read("n" * 501), read("n" * 700 + "a"), read("n" * 700 + "b")]
    assert {len(name) for name in shortened} == {500}
    assert {name[:400] for name in shortened} == {"n" * 400}
    # A text that is like the short form of another one is not taken for it.
    assert len({*shortened, *(read(name) for name in shortened)}) == 2 * len(shortened)


@pytest.mark.parametrize(
    ("kind", "column"),
    [
        (Kind.CUSTOMER, "status"),
        (Kind.SERVICE, "status"),
        (Kind.INVOICE, "status"),
        (Kind.CANCELLATION_REQUEST, "type"),
        (Kind.PROMOTION, "type"),
    ],
)
def test_row_with_an_endless_status_cannot_be_read(kind: Kind, column: str) -> None:
    action, row = first_row(kind)
    action.translate(row | {column: "s" * 60}, InstanceSettings())

    with pytest.raises(ValueError, match="status"):
        action.translate(row | {column: "s" * 61}, InstanceSettings())


@pytest.mark.parametrize(
    ("text", "country"), [("de", "DE"), ("Germany", None), ("", None), (None, None), ([], None)]
)
def test_country_is_its_code_or_unknown(text: Any, country: str | None) -> None:
    assert translate.customer_detail({"id": 7, "country": text})["country"] == country
