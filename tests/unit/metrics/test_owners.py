"""Every kind has a rule that says through which row its customer is found."""

from typing import Any

import pytest

from libs.common.contracts.billing import Kind
from services.metrics.formulas.owners import OWNER_RULES, Owner, owner_of

CUSTOMER = Owner(Kind.CUSTOMER, 7)


def test_every_kind_has_an_owner_rule() -> None:
    assert OWNER_RULES.keys() == set(Kind)


@pytest.mark.parametrize(
    ("kind", "body", "owner"),
    [
        (Kind.CUSTOMER, {}, Owner(Kind.CUSTOMER, 1)),
        (Kind.CUSTOMER_DETAIL, {}, Owner(Kind.CUSTOMER, 1)),
        (Kind.SERVICE, {"customer_id": 7}, CUSTOMER),
        (Kind.ADDON, {"customer_id": 7, "parent_id": 3}, CUSTOMER),
        (Kind.DOMAIN, {"customer_id": 7}, CUSTOMER),
        (Kind.INVOICE, {"customer_id": 7}, CUSTOMER),
        (Kind.INVOICE_LINES, {}, Owner(Kind.INVOICE, 1)),
        (Kind.TRANSACTION, {"customer_id": 7, "invoice_id": 5}, CUSTOMER),
        (Kind.TRANSACTION, {"customer_id": None, "invoice_id": 5}, Owner(Kind.INVOICE, 5)),
        (Kind.TRANSACTION, {"customer_id": None, "invoice_id": None}, None),
        (Kind.CANCELLATION_REQUEST, {"service_id": 3}, Owner(Kind.SERVICE, 3)),
        (Kind.PRODUCT, {}, None),
        (Kind.CURRENCY, {}, None),
        (Kind.PROMOTION, {}, None),
    ],
)
def test_row_names_its_owner(kind: Kind, body: dict[str, Any], owner: Owner | None) -> None:
    assert owner_of(kind, 1, body) == owner


@pytest.mark.parametrize("kind", Kind)
def test_tombstone_names_no_owner(kind: Kind) -> None:
    assert owner_of(kind, 1, None) is None
