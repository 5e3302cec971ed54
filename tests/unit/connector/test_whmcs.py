"""What a WHMCS answers becomes facts or a code of the error table; no shape of it is a surprise."""

import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.contracts.billing import ADAPTERS, Kind
from libs.common.contracts.instances import InstanceSettings
from services.connector.changes import changed, fact, newest
from services.connector.checks import candidates
from services.connector.politeness import Politeness
from services.connector.settings import Network, Settings
from services.connector.whmcs import answers, translate
from services.connector.whmcs.answers import WhmcsError
from services.connector.whmcs.client import is_allowed
from services.connector.whmcs.entities import LISTS, ListAction

SAMPLES = Path(__file__).parents[2] / "contract" / "whmcs"
ERRORS = json.loads((SAMPLES / "errors.json").read_text())["errors"]
CODES = {
    "credentials": "credentials_rejected",
    "permission": "permission_missing",
    "ip": "ip_not_allowed",
    "unsupported_action": "action_unsupported",
    "caller_bug_or_lost_body": "not_whmcs_api",
    "caller_bug": "bad_response",
    "not_found": "not_found",
    "site_fault_one_action": "server_error",
    "blocked_by_proxy": "blocked_by_firewall",
    "redirect": "redirected",
    "wrong_url": "not_whmcs_api",
}
CODES_BY_NAME = {
    "status_key_instead_of_result": "not_found",
    "error_without_message": "bad_response",
    "version_mismatch_maintenance": "maintenance",
    "empty_200": "bad_response",
    "php_fatal_500_empty": "server_error",
    "truncated_json": "bad_response",
    "gateway_timeout": "server_error",
}
AT = datetime(2026, 11, 24, tzinfo=UTC)


def networks(*texts: str) -> tuple[Network, ...]:
    return Settings.model_validate(
        {
            "database_url": "postgresql://",
            "kafka_bootstrap": "localhost:1",
            "credential_keys_file": "keys",
            "egress_allow_cidrs": ",".join(texts),
        }
    ).egress_allow_cidrs


def content_of(error: dict[str, Any]) -> bytes:
    return error["raw"].encode() if "raw" in error else orjson.dumps(error["body"])


def sample(entity: ListAction) -> dict[str, Any]:
    body: dict[str, Any] = json.loads((SAMPLES / f"{entity.action}.json").read_text())
    return body


@pytest.mark.parametrize(
    ("error", "status"),
    [
        pytest.param(error, status, id=f"{error['name']}-{status}")
        for error in ERRORS
        if error["class"] != "parse"
        for status in error["http"]
    ],
)
def test_every_known_failure_has_its_code(error: dict[str, Any], status: int) -> None:
    headers = {name.lower(): value for name, value in error.get("headers", {}).items()}

    with pytest.raises(WhmcsError) as caught:
        answers.read(status, headers, content_of(error), "GetClients")

    assert caught.value.code == CODES_BY_NAME.get(error["name"], CODES.get(error["class"]))


@pytest.mark.parametrize(
    "error", [one for one in ERRORS if one["class"] == "parse"], ids=lambda one: one["name"]
)
def test_noise_before_the_json_does_not_matter(error: dict[str, Any]) -> None:
    assert answers.read(200, {}, content_of(error), "GetClients")["result"] == "success"


@pytest.mark.parametrize("entity", LISTS, ids=lambda entity: entity.action)
def test_every_official_sample_becomes_facts_of_the_contract(entity: ListAction) -> None:
    body = sample(entity)

    found = answers.rows(body, entity.plural, entity.singular)

    assert found
    for row in found:
        content = orjson.dumps(entity.translate(row, InstanceSettings()))
        ADAPTERS[entity.kind].validate_json(content)


@pytest.mark.parametrize("entity", LISTS, ids=lambda entity: entity.action)
def test_nested_numbered_lone_and_flattened_rows_are_the_same(entity: ListAction) -> None:
    row = {"id": "1", "name": "x"}

    for shape in (
        {entity.plural: {entity.singular: [row]}},
        {entity.plural: {entity.singular: {"0": row}}},
        {entity.plural: {entity.singular: row}},
        {entity.plural: [row]},
        {f"{entity.plural}[{entity.singular}][0][{name}]": value for name, value in row.items()},
    ):
        assert answers.rows(shape, entity.plural, entity.singular) == [row]


@pytest.mark.parametrize("nothing", ["", [], {}, None, {"product": []}, {"product": ""}])
def test_every_way_to_say_nothing_is_no_rows(nothing: Any) -> None:
    assert answers.rows({"products": nothing}, "products", "product") == []
    assert answers.rows({}, "products", "product") == []


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda child: st.lists(child, max_size=3) | st.dictionaries(st.text(max_size=5), child, max_size=3),
    )
)
def test_any_json_is_rows_or_a_bad_response(value: Any) -> None:
    def read() -> list[Any] | str:
        try:
            return answers.rows({"products": value}, "products", "product")
        except WhmcsError as error:
            return error.code

    rows = read()

    assert rows == "bad_response" or all(isinstance(row, dict) for row in rows)


@given(st.decimals(min_value=-(10**9), max_value=10**9, places=2))
def test_money_is_exact_in_micros(amount: Decimal) -> None:
    assert translate.micros(str(amount)) == amount * 1_000_000


@pytest.mark.parametrize("text", ["", "12,95", "nan", "inf", "1e400", "$5", None])
def test_what_is_no_amount_is_refused(text: Any) -> None:
    with pytest.raises((ValueError, TypeError)):
        translate.micros(text)


@pytest.mark.parametrize("value", [[], {"a": 1}, "x" * 1000, 1.5], ids=["list", "object", "long", "number"])
def test_a_cycle_of_any_shape_is_unknown_rather_than_an_error(value: Any) -> None:
    assert translate.cycle(value) == "unknown"


def test_an_empty_list_in_the_place_of_a_text_is_nothing() -> None:
    domain = next(entity for entity in LISTS if entity.kind is Kind.DOMAIN)
    row = answers.rows(sample(domain), domain.plural, domain.singular)[0]

    assert translate.domain(row | {"donotrenew": []})["renews"]
    assert translate.customer_detail({"id": 7, "currency_code": []})["currency"] is None


@pytest.mark.parametrize("value", ["", " ", None])
def test_an_invoice_without_a_currency_cannot_be_read(value: Any) -> None:
    invoices = next(entity for entity in LISTS if entity.kind is Kind.INVOICE)
    row = answers.rows(sample(invoices), invoices.plural, invoices.singular)[0]

    with pytest.raises(ValueError, match="currency"):
        translate.invoice(row | {"currencycode": value})


def test_a_service_keeps_no_secret_and_is_unescaped_once() -> None:
    service = next(entity for entity in LISTS if entity.kind is Kind.SERVICE)
    row = answers.rows(sample(service), service.plural, service.singular)[0]
    row |= {"name": "R&amp;amp;D", "password": "canary", "notes": "canary", "username": "canary"}
    row |= {"nextduedate": "0000-00-00", "billingcycle": "Semi-Annually", "recurringamount": "12.95"}

    content: Any = service.translate(row, InstanceSettings())

    assert "canary" not in str(content)
    assert content["product_name"] == "R&amp;D"
    assert (content["next_due_on"], content["cycle"]) == (None, "semiannually")
    assert content["recurring_micros"] == 12_950_000


def test_names_are_left_out_where_they_are_not_stored() -> None:
    row = {"id": 1, "status": "Active", "companyname": "Example", "firstname": "A", "lastname": "B"}

    assert translate.customer(row, store_names=True)["display_name"] == "Example"
    assert translate.customer(row, store_names=False)["display_name"] is None


@pytest.mark.rule("N3")
@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "100.64.0.1",
        "169.254.169.254",
        "0.0.0.0",  # noqa: S104 - an address to refuse
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "192.88.99.1",
        "168.63.129.16",
        "::1",
        "::",
        "fe80::1",
        "fe80::1%eth0",
        "fc00::1",
        "fd00:ec2::254",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "64:ff9b::7f00:1",
        "64:ff9b:1::1",
        "2002:7f00:1::",
        "2001::1",
        "3fff::1",
        "5f00::1",
    ],
)
def test_addresses_that_are_not_public_are_closed(address: str) -> None:
    assert not is_allowed(address)


@pytest.mark.rule("N3")
@pytest.mark.parametrize("address", ["8.8.8.8", "1.1.1.1", "2606:4700:4700::1111", "::ffff:8.8.8.8"])
def test_public_addresses_are_open_unless_the_operator_closes_them(address: str) -> None:
    assert is_allowed(address)
    assert not is_allowed(address, (), networks("8.8.8.0/24", "1.1.1.1/32", "2606:4700::/32"))


@pytest.mark.rule("N4")
def test_a_range_opens_private_networks_but_loopback_only_by_itself() -> None:
    assert is_allowed("10.2.3.4", networks("10.0.0.0/8"))
    assert not is_allowed("127.0.0.1", networks("127.0.0.0/8"))
    assert not is_allowed("169.254.169.254", networks("169.254.0.0/16"))
    assert is_allowed("127.0.0.1", networks("127.0.0.1/32"))


class Answers:
    """Answers one after another, while the process works for a share of the time."""

    def __init__(self, politeness: Politeness, *, busy: float) -> None:
        self.politeness, self.busy = politeness, busy
        self.now = 1_000.0

    def come(self, count: int, seconds: float) -> None:
        for _ in range(count):
            self.now += seconds
            size = self.politeness.page_size
            self.politeness.answered("GetClients", size, seconds, now=self.now, worked=self.busy * self.now)


def test_calls_and_pages_grow_while_latency_is_flat_and_calls_halve_when_it_rises() -> None:
    politeness = Politeness()
    answers = Answers(politeness, busy=0.1)
    answers.come(300, 0.05)
    assert (politeness.limit, politeness.page_size) == (8, 1_000)

    answers.come(1, 0.5)
    answers.come(1, 0.05)
    assert politeness.limit == 8
    answers.come(16, 0.5)
    assert (politeness.limit, politeness.page_size) == (4, 1_000)


def test_a_run_that_is_busy_with_its_own_work_does_not_ask_for_more() -> None:
    politeness = Politeness()
    answers = Answers(politeness, busy=0.5)
    answers.come(100, 0.05)
    assert (politeness.limit, politeness.page_size) == (2, 250)

    answers.come(4, 0.5)
    assert politeness.limit == 1
    answers.come(30, 0.05)
    assert (politeness.limit, politeness.page_size) == (2, 250)


def test_refusals_halve_calls_and_pages_but_never_below_one() -> None:
    politeness = Politeness()

    politeness.refused(is_about_rows=True)
    assert (politeness.limit, politeness.page_size) == (1, 125)

    for _ in range(10):
        politeness.refused(is_about_rows=True)
    assert (politeness.limit, politeness.page_size) == (1, 1)


def test_only_facts_with_another_fingerprint_are_news_and_repeated_rows_count_once() -> None:
    rows = [{"id": number, "code": "EUR", "rate": "1", "is_default": True} for number in (2, 1)]
    facts = [fact(Kind.CURRENCY, row, 1, AT) for row in rows]
    again = fact(Kind.CURRENCY, rows[0] | {"rate": "2"}, 2, AT)

    by_id = newest([*facts, again])

    assert list(by_id) == [1, 2]
    assert by_id[2] is again
    assert changed(by_id, {1: facts[1].fingerprint, 2: facts[0].fingerprint}) == [again]
    assert changed(by_id, {1: None, 2: again.fingerprint}) == [facts[1]]


def test_the_folder_that_was_entered_is_tried_before_those_above_it() -> None:
    assert candidates("https://example.com:8443/a/b") == [
        "https://example.com:8443/a/b",
        "https://example.com:8443/a",
        "https://example.com:8443",
    ]


GRANTED = (
    {"result": "error", "message": "Client Not Found"},
    {"status": "error", "message": "Invoice ID Not Found"},
    {"result": "error", "message": "Client ID is required"},
    {"result": "error", "message": "Something that no page documents"},
    {"result": "error"},
)


@pytest.mark.parametrize("body", GRANTED, ids=lambda body: body.get("message", "no message"))
def test_other_answers_of_whmcs_prove_the_right(body: dict[str, Any]) -> None:
    with pytest.raises(WhmcsError) as caught:
        answers.read(200, {}, orjson.dumps(body), "GetInvoice")

    assert caught.value.is_granted


def test_wrong_parameter_proves_the_right_with_400_too() -> None:
    with pytest.raises(WhmcsError) as caught:
        answers.read(400, {}, b'{"result": "error", "message": "Client ID is required"}', "GetInvoice")

    assert caught.value.is_granted


NOT_GRANTED = (
    b'{"message": "Blocked by the firewall"}',
    b'{"status": 403, "message": "Client Not Found"}',
    b'{"result": "error", "message": "Client Not',
    b"<html>Client Not Found</html>",
    b"",
    *(
        content_of(error)
        for error in ERRORS
        if error["class"] in ("credentials", "permission", "ip", "unsupported_action")
    ),
)


@pytest.mark.parametrize("content", NOT_GRANTED)
def test_refused_rights_and_foreign_answers_prove_nothing(content: bytes) -> None:
    with pytest.raises(WhmcsError) as caught:
        answers.read(200, {}, content, "GetInvoice")

    assert not caught.value.is_granted


@pytest.mark.parametrize(
    ("status", "content"),
    [
        (403, b'{"result": "error", "message": "The API is closed to you"}'),
        (404, b'{"status": "error", "message": "No such page"}'),
    ],
)
def test_refusal_by_status_proves_nothing_in_new_words(status: int, content: bytes) -> None:
    with pytest.raises(WhmcsError) as caught:
        answers.read(status, {}, content, "GetInvoice")

    assert not caught.value.is_granted


@pytest.mark.parametrize("nothing", ["", None])
def test_domain_without_a_name_has_no_label(nothing: Any) -> None:
    _, row = first_row(Kind.DOMAIN)

    assert translate.domain(row | {"domainname": nothing})["label"] is None


def first_row(kind: Kind) -> tuple[ListAction, dict[str, Any]]:
    entity = next(entity for entity in LISTS if entity.kind is kind)
    return entity, answers.rows(sample(entity), entity.plural, entity.singular)[0]


@pytest.mark.parametrize("nothing", ["0", 0, "", None, "0.00", 0.0, [], -1, "-1"])
def test_what_php_finds_empty_refers_to_nothing(nothing: Any) -> None:
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
def test_service_of_nobody_cannot_be_read(nothing: Any) -> None:
    _, row = first_row(Kind.SERVICE)

    with pytest.raises((ValueError, TypeError)):
        translate.service(row | {"clientid": nothing})


LONG_CODES = ("ABCDEFGHIJKLMNOP1", "ABCDEFGHIJKLMNOP2")


def test_long_currency_codes_never_become_one() -> None:
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
def test_long_names_that_identify_never_meet(kind: Kind, column: str, field: str) -> None:
    entity, row = first_row(kind)

    def read(name: str) -> Any:
        return entity.translate(row | {column: name}, InstanceSettings())[field]

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
    entity, row = first_row(kind)
    entity.translate(row | {column: "s" * 60}, InstanceSettings())

    with pytest.raises(ValueError, match="status"):
        entity.translate(row | {column: "s" * 61}, InstanceSettings())


@pytest.mark.parametrize(
    ("text", "country"), [("de", "DE"), ("Germany", None), ("", None), (None, None), ([], None)]
)
def test_country_is_its_code_or_unknown(text: Any, country: str | None) -> None:
    assert translate.customer_detail({"id": 7, "country": text})["country"] == country
