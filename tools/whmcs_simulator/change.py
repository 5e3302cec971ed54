"""Changes by hand, as an administrator makes them. Their date is the company's today."""

import re
from collections.abc import Callable, Mapping, Set
from datetime import date
from decimal import Decimal
from typing import Any, Final

from tools.whmcs_simulator import billing, orders
from tools.whmcs_simulator.company import Company
from tools.whmcs_simulator.cycles import add_months
from tools.whmcs_simulator.records import KINDS, Customer, Kind, Request, Subscription

Change = Mapping[str, Any]


def change(company: Company, what: Change) -> dict[str, Any]:
    """Carry out one change and return the id of the changed row.

    `{"kind": "service", "id": 7, "set": {"recurring": "12.34"}}`, `{"kind": "addon", "id": 3, "delete": true}` or
    `{"kind": "domain", "add": {"customer_id": 5, "name": "a-name.com"}}`. Kinds: service, addon, domain, client,
    invoice, request, product. Raise ValueError that says what was wrong; then nothing has changed.
    """
    kind = what.get("kind")
    if not isinstance(kind, str) or kind not in _ROWS:
        raise ValueError(f"`kind` is one of {', '.join(_ROWS)}; got {kind!r}")
    if sum(verb in what for verb in ("set", "add", "delete")) != 1:
        raise ValueError("a change has exactly one of `set`, `add`, `delete`")
    if "add" in what:
        add = _ADD.get(kind)
        if add is None:
            raise ValueError(f"{kind} has no `add`")
        id_ = add(company, kind, what["add"])
        _log(company, kind, _ROWS[kind](company)[id_])
    else:
        id_ = _integer("id", what.get("id"))
        row = _ROWS[kind](company).get(id_)
        if row is None:
            raise ValueError(f"there is no {kind} {id_!r}")
        if "delete" in what:
            if kind not in _DELETE:
                raise ValueError(f"{kind} has no `delete`")
            _DELETE[kind](company, row)
        else:
            _SET[kind](company, row, what["set"])
        _log(company, kind, row)
    company.revision += 1
    return {"kind": kind, "id": id_, "day": date.fromordinal(company.today).isoformat()}


def _log(company: Company, kind: str, row: Any) -> None:
    # WHMCS documentation, Activity Log: it has what administrators do. inferred: with the client concerned, if there is one.
    match row:
        case Customer():
            customer_id = row.id
        case Request():
            customer_id = company.services[row.service_id].customer_id
        case _:
            customer_id = getattr(row, "customer_id", 0)
    company.write_log(customer_id, f"Modified {kind.title()} - ID: {row.id}")


_ROWS: Final[dict[str, Callable[[Company], Mapping[int, Any]]]] = {
    "service": lambda company: company.services,
    "addon": lambda company: company.addons,
    "domain": lambda company: company.domains,
    "client": lambda company: company.customers,
    "invoice": lambda company: company.invoices,
    "request": lambda company: company.requests,
    "product": lambda company: company.catalogue.products,
}


def _set_subscription(company: Company, subscription: Subscription, values: Change) -> None:
    """Set fields of a subscription: those of _SUBSCRIPTION_FIELDS. `customer_id` moves it to that customer."""
    parsed = _parsed(values, _SUBSCRIPTION_FIELDS)
    to = None
    if "customer_id" in parsed:
        to = company.customers.get(parsed.pop("customer_id"))
        if to is None:
            raise ValueError("`customer_id` names no client")
    if "product_id" in parsed and subscription.kind == "service":
        product = company.catalogue.products.get(parsed["product_id"])
        if product is None:
            raise ValueError("`product_id` names no product")
        subscription.name = product.name
    for name, value in parsed.items():
        setattr(subscription, name, value)
    if "recurring" in parsed:
        subscription.price_is_by_hand = True
        subscription.discount = 0
        subscription.discounted_renewals_left = None
    if to is not None:
        company.move(subscription, to)
    company.record_version(subscription)
    if "status" in parsed and subscription.status in ("Active", "Suspended"):
        subscription.suspension_reason = "" if subscription.status == "Active" else "Suspended by hand"
    subscription.decided_for = 0
    billing.schedule_renewal(company, subscription)


def _set_client(company: Company, customer: Customer, values: Change) -> None:
    """Set fields of a client: those of _CLIENT_FIELDS. A new currency leaves all amounts as they are."""
    for name, value in _parsed(values, _CLIENT_FIELDS).items():
        if name == "currency" and value not in company.catalogue.currencies:
            raise ValueError(f"`currency` is one of {', '.join(company.catalogue.currencies)}; got {value!r}")
        setattr(customer, name, value)
    for subscription in customer.subscriptions:
        company.record_version(subscription)


def _set_invoice(company: Company, invoice: Any, values: Change) -> None:
    """Set the status of an invoice: Paid pays it, Refunded refunds all of it, any other cancels it."""
    match _parsed(values, {"status": _text}, required={"status"})["status"]:
        case "Paid":
            billing.settle(company, invoice)
        case "Refunded":
            billing.refund(company, invoice, invoice.total)
        case status:
            billing.cancel(company, invoice, status)


def _set_product(_: Company, product: Any, values: Change) -> None:
    """Set the name of a product. Its services keep the old name."""
    product.name = _parsed(values, {"name": _text}, required={"name"})["name"]


def _add_client(company: Company, _: str, values: Change) -> int:
    parsed = _parsed(values, _CLIENT_FIELDS)
    customer = orders.new_customer(company)
    _set_client(company, customer, parsed)
    return customer.id


def _add_subscription(company: Company, kind: str, values: Change) -> int:
    """Add a subscription, active and paid for its first period unless `status` says otherwise."""
    extra: dict[str, Callable[[str, Any], Any]] = {"service_id": _integer, "period": _integer}
    parsed = _parsed(values, _SUBSCRIPTION_FIELDS | extra)
    customer = company.customers.get(parsed.pop("customer_id", 0))
    if customer is None:
        raise ValueError("`customer_id` names no client")
    service = company.services.get(parsed.pop("service_id", 0))
    product = company.catalogue.products.get(parsed.pop("product_id", 2))
    if product is None:
        raise ValueError("`product_id` names no product")
    cycle, name = parsed.pop("cycle", None), parsed.pop("name", "")
    period = parsed.pop("period", 1)
    if kind == "addon" and (service is None or service.customer_id != customer.id):
        raise ValueError("`service_id` names no service of this client")
    if kind == "service" and cycle is not None and cycle not in product.prices[customer.currency]:
        raise ValueError(f"product {product.id} is not sold {cycle!r}")
    if kind == "domain" and name.partition(".")[2] not in company.catalogue.tlds:
        raise ValueError(f"`name` ends with one of {', '.join(company.catalogue.tlds)}; got {name!r}")
    order = orders.empty_order(company, customer)
    order.status = "Active"
    if kind == "service":
        new = orders.add_service(company, customer, order, product, cycle=cycle, label=name)
    elif kind == "domain":
        new = orders.add_domain(company, customer, order, name, period=period)
    else:
        assert service is not None  # noqa: S101 - checked above
        new = orders.add_addon(company, customer, order, service)
        new.cycle = cycle or new.cycle
        if name:
            new.product_id, new.name = 0, name
    new.status = "Active"
    if new.months:
        new.next_due_on = add_months(company.today, new.months, company.today)
    if kind == "domain":
        new.expires_on = new.next_due_on
    _set_subscription(company, new, parsed)
    return new.id


def _add_request(company: Company, _: str, values: Change) -> int:
    fields = {"service_id": _integer, "immediate": _flag, "reason": _text}
    parsed = _parsed(values, fields)
    service = company.services.get(parsed.get("service_id", 0))
    if service is None or service.request:
        raise ValueError("`service_id` names no service without a request")
    billing.request_cancellation(
        company, service, parsed.get("reason", "By hand"), immediate=parsed.get("immediate", False)
    )
    return company.last_id("request")


_SET: Final[dict[str, Callable[[Company, Any, Change], None]]] = {
    **dict.fromkeys(KINDS, _set_subscription),
    "client": _set_client,
    "invoice": _set_invoice,
    "product": _set_product,
    "request": lambda _, __, ___: _refuse("a request has no `set`"),
}
_ADD: Final[dict[str, Callable[[Company, str, Change], int]]] = {
    **dict.fromkeys(KINDS, _add_subscription),
    "client": _add_client,
    "request": _add_request,
}
_DELETE: Final[dict[str, Callable[[Company, Any], None]]] = {
    **dict.fromkeys(KINDS, Company.delete_subscription),
    "client": Company.delete_customer,
    "invoice": Company.delete_invoice,
    "request": lambda company, request: billing.withdraw_request(
        company, company.services[request.service_id]
    ),
}


def _refuse(text: str) -> None:
    raise ValueError(text)


def _amount(name: str, value: Any) -> int:
    if not re.fullmatch(r"-?\d{1,12}(\.\d{1,2})?", str(value)):
        raise ValueError(f"`{name}` is an amount with two decimals, such as 12.34; got {value!r}")
    return int(Decimal(str(value)) * 100)


def _day(name: str, value: Any) -> int | None:
    if value is None:
        return None
    try:
        return date.fromisoformat(value).toordinal()
    except (TypeError, ValueError) as error:
        raise ValueError(f"`{name}` is a day such as 2026-11-24, or null; got {value!r}") from error


def _integer(name: str, value: Any) -> int:
    if type(value) is not int:
        raise ValueError(f"`{name}` is an integer; got {value!r}")
    return value


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"`{name}` is a text; got {value!r}")
    return value


def _flag(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"`{name}` is true or false; got {value!r}")
    return value


_SUBSCRIPTION_FIELDS: Final[dict[str, Callable[[str, Any], Any]]] = {
    "recurring": _amount,
    "status": _text,
    "cycle": _text,
    "next_due_on": _day,
    "registered_on": _day,
    "expires_on": _day,
    "quantity": _integer,
    "name": _text,
    "product_id": _integer,
    "renews": _flag,
    "customer_id": _integer,
}
_CLIENT_FIELDS: Final[dict[str, Callable[[str, Any], Any]]] = {
    "status": _text,
    "currency": _text,
    "company_name": _text,
    "first_name": _text,
    "last_name": _text,
}


def _parsed(
    values: Any, fields: Mapping[str, Callable[[str, Any], Any]], *, required: Set[str] = frozenset()
) -> dict[str, Any]:
    if not isinstance(values, Mapping):
        raise ValueError(f"expected an object with some of {', '.join(fields)}; got {values!r}")
    if unknown := values.keys() - fields.keys():
        raise ValueError(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(fields)}")
    if missing := required - values.keys():
        raise ValueError(f"missing: {', '.join(sorted(missing))}")
    return {name: fields[name](name, value) for name, value in values.items()}


_FILTERS: Final = frozenset({"status", "cycle", "currency", "customer_id", "live"})


def candidates(company: Company, kind: Kind, filters: Mapping[str, str]) -> list[Subscription]:
    """Return the subscriptions that match all filters, by id.

    Filters: status, cycle, currency, customer_id, `live=true` (active, priced, recurring, paid ahead, no request).
    Raise ValueError for any other filter.
    """
    if unknown := filters.keys() - _FILTERS:
        raise ValueError(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(sorted(_FILTERS))}")
    chosen = []
    for subscription in company.rows(kind).values():
        matches = {
            "status": subscription.status,
            "cycle": subscription.cycle,
            "currency": company.customers[subscription.customer_id].currency,
            "customer_id": str(subscription.customer_id),
            "live": "true" if is_live(company, subscription) else "false",
        }
        if all(matches[name] == value for name, value in filters.items()):
            chosen.append(subscription)
    return chosen


def is_live(company: Company, subscription: Subscription) -> bool:
    return (
        subscription.status == "Active"
        and subscription.recurring > 0
        and subscription.months > 0
        and subscription.registered_on <= company.today
        and (subscription.next_due_on or 0) > company.today
        and subscription.request is None
    )
