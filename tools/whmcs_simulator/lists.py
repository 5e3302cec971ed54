"""The list actions: which rows each selects, and the shape of its envelope. Comments name the sources of guesses as answers.py says."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Final, Literal

from tools.whmcs_simulator.company import Company
from tools.whmcs_simulator.cycles import written
from tools.whmcs_simulator.parameters import Parameters, Refused
from tools.whmcs_simulator.records import SECONDS_OF_A_DAY, Customer, Subscription
from tools.whmcs_simulator.rows import activity, catalogue, clients, formats, invoices, orders, subscriptions
from tools.whmcs_simulator.rows.formats import Row, RowOf


@dataclass(frozen=True, slots=True)
class ListAction:
    """A list action. `select` filters and sorts; `empty` is the shape of a list without rows; `omits` are absent counts."""

    plural: str
    singular: str
    select: Callable[[Company, Parameters], Sequence[Any]]
    row: RowOf
    pages: bool = True
    # client code, fcs7/whmcs-mcp, has seen a missing key and "" on a live system; [], {} and an inner [] are what other clients accept.
    empty: Literal["missing", "text", "list", "object", "wrapped"] = "wrapped"
    echoes: tuple[tuple[str, str | None], ...] = ()
    """Filters that the envelope repeats, with the value for an absent filter."""
    # WHMCS developer docs: the samples differ between actions, and within one answer.
    counts: Literal["numbers", "text", "mixed"] = "numbers"
    omits: frozenset[str] = frozenset()


def _ids(text: str) -> set[int]:
    return {int(part) for part in text.split(",")}


def _where(rows: Iterable[Any], text: str | None, value_of: Callable[[Any], object]) -> Iterable[Any]:
    """Return the rows whose value equals `text`, ignoring case; all rows when the filter is absent."""
    # inferred: MySQL compares text without regard to case.
    if text is None:
        return rows
    rows = list(rows)
    values = list(map(value_of, rows))
    # Many rows share few values, so each value is compared once.
    accepted = {value for value in set(values) if str(value).lower() == text.lower()}
    return [row for row, value in zip(rows, values, strict=True) if value in accepted]


def _clients(company: Company, parameters: Parameters) -> list[Customer]:
    chosen = _where(company.customers.values(), parameters.get("status"), attrgetter("status"))
    if search := parameters.get("search", "").lower():
        chosen = [row for row in chosen if _begins_with(row, search)]
    # inferred: without an order WHMCS sorts by name, so a new customer moves others to another page. No page names the order.
    by = _CLIENT_ORDERS.get(
        parameters.get("orderby", "").lower(), lambda row: (row.last_name, row.first_name)
    )
    return sorted(chosen, key=by, reverse=parameters.get("sorting", "").upper() == "DESC")


def _begins_with(customer: Customer, search: str) -> bool:
    texts = (customer.name, customer.last_name, customer.company_name, clients.email(customer))
    return any(text.lower().startswith(search) for text in texts)


_CLIENT_ORDERS: Final[dict[str, Callable[[Customer], Any]]] = {
    "id": attrgetter("id"),
    "firstname": attrgetter("first_name"),
    "lastname": attrgetter("last_name"),
    "companyname": attrgetter("company_name"),
    "email": clients.email,
    "groupid": attrgetter("group_id"),
    "datecreated": attrgetter("created_on"),
    "status": attrgetter("status"),
}


def _of_customer(
    company: Company, parameters: Parameters, kind: Literal["service", "addon", "domain"]
) -> Iterable[Subscription]:
    if "clientid" not in parameters:
        return company.rows(kind).values()
    customer = company.customers.get(int(parameters["clientid"]))
    return sorted(
        (row for row in (customer.subscriptions if customer else ()) if row.kind == kind),
        key=lambda row: row.id,
    )


def _services(company: Company, parameters: Parameters) -> Sequence[Subscription]:
    chosen: Iterable[Any] = _of_customer(company, parameters, "service")
    chosen = _where(chosen, parameters.get("serviceid"), attrgetter("id"))
    chosen = _where(chosen, parameters.get("pid"), attrgetter("product_id"))
    chosen = _where(chosen, parameters.get("domain"), attrgetter("label"))
    return list(_where(chosen, parameters.get("username2"), subscriptions.user_name))


def _addons(company: Company, parameters: Parameters) -> Sequence[Subscription]:
    chosen: Iterable[Any] = _of_customer(company, parameters, "addon")
    if text := parameters.get("serviceid"):
        services = _ids(text)
        chosen = [row for row in chosen if row.parent_id in services]
    # inferred: the id of the client's addon, as the row's `id`.
    return list(_where(chosen, parameters.get("addonid"), attrgetter("id")))


def _domains(company: Company, parameters: Parameters) -> Sequence[Subscription]:
    chosen: Iterable[Any] = _of_customer(company, parameters, "domain")
    chosen = _where(chosen, parameters.get("domainid"), attrgetter("id"))
    return list(_where(chosen, parameters.get("domain"), attrgetter("name")))


def _products(company: Company, parameters: Parameters) -> Sequence[Any]:
    # inferred: a retired product is not listed; the page calls the action one "for custom order forms".
    chosen: Iterable[Any] = [row for row in company.catalogue.products.values() if row.weight]
    if text := parameters.get("pid"):
        ids = _ids(text)
        chosen = [row for row in chosen if row.id in ids]
    chosen = _where(chosen, parameters.get("gid"), attrgetter("group_id"))
    return list(_where(chosen, parameters.get("module"), attrgetter("module")))


def _invoices(company: Company, parameters: Parameters) -> Sequence[Any]:
    chosen: Iterable[Any] = company.invoices.values()
    if text := parameters.get("userid"):
        customer = company.customers.get(int(text))
        chosen = [company.invoices[id_] for id_ in customer.invoices] if customer else []
    # WHMCS developer docs, GetInvoices: `Overdue` is a filter. inferred: its rows say Unpaid.
    if parameters.get("status", "").lower() == "overdue":
        chosen = [row for row in chosen if row.status == "Unpaid" and row.due_on < company.today]
    else:
        chosen = _where(chosen, parameters.get("status"), attrgetter("status"))
    by = _INVOICE_ORDERS.get(parameters.get("orderby", "").lower())
    # Rows are kept by id. inferred: without an order the newest come first, so that a new invoice moves others to another page.
    matches = sorted(chosen, key=by) if by else list(chosen)
    if parameters.get("order", "asc" if "orderby" in parameters else "desc").lower() == "desc":
        matches.reverse()
    return matches


_INVOICE_ORDERS: Final[dict[str, Callable[[Any], Any]]] = {
    "invoicenumber": attrgetter("number", "id"),
    "date": attrgetter("issued_on", "id"),
    "duedate": attrgetter("due_on", "id"),
    "total": attrgetter("total", "id"),
    "status": attrgetter("status", "id"),
}


def _transactions(company: Company, parameters: Parameters) -> Sequence[Any]:
    chosen: Iterable[Any] = company.transactions.values()
    chosen = _where(chosen, parameters.get("clientid"), attrgetter("customer_id"))
    chosen = _where(chosen, parameters.get("invoiceid"), attrgetter("invoice_id"))
    return list(_where(chosen, parameters.get("transid"), invoices.reference))


def _orders(company: Company, parameters: Parameters) -> Sequence[Any]:
    chosen: Iterable[Any] = company.orders.values()
    chosen = _where(chosen, parameters.get("id"), attrgetter("id"))
    chosen = _where(chosen, parameters.get("userid"), attrgetter("customer_id"))
    chosen = _where(chosen, parameters.get("requestor_id"), lambda row: row.customer_id + 1000)
    return list(_where(chosen, parameters.get("status"), attrgetter("status")))


def _promotions(company: Company, parameters: Parameters) -> Sequence[Any]:
    return list(_where(company.catalogue.promotions.values(), parameters.get("code"), attrgetter("code")))


def _credits(company: Company, parameters: Parameters) -> list[Any]:
    customer = company.customers.get(int(parameters["clientid"]))
    if customer is None:  # WHMCS developer docs, GetCredits
        raise Refused("Client ID Not Found")
    return customer.credits


def _log(company: Company, parameters: Parameters) -> Sequence[Any]:
    # WHMCS developer docs, GetActivityLog: the sample has the newest first; `date` has the format of the site.
    chosen: Iterable[Any] = reversed(company.log)
    chosen = _where(chosen, parameters.get("clientid"), attrgetter("customer_id"))
    chosen = _where(
        chosen,
        parameters.get("date"),
        lambda row: written(row.at // SECONDS_OF_A_DAY, company.profile.date_format),
    )
    if text := parameters.get("description"):
        chosen = [row for row in chosen if text in row.text]
    chosen = _where(chosen, parameters.get("user"), lambda _: activity.LOG_USER)
    return list(_where(chosen, parameters.get("ipaddress"), lambda _: activity.LOG_ADDRESS))


def _payment_method(_: Company, gateway: tuple[str, str]) -> Row:
    return {"module": gateway[0], "displayname": formats.stored(gateway[1])}


def _order_status(company: Company, title: str) -> Row:
    return {"title": title, "count": sum(order.status == title for order in company.orders.values())}


# `empty`: client code, fcs7/whmcs-mcp, for addons, groups and promotions (missing); it has seen "" for lists without naming the
# action; all others are inferred. `counts`, `echoes` and `omits`: WHMCS developer docs, the sample of the action.
_NO_PAGE: Final = frozenset({"startnumber", "numreturned"})


LISTS: Final[dict[str, ListAction]] = {
    "getclients": ListAction("clients", "client", _clients, clients.client, empty="wrapped"),
    "getclientgroups": ListAction(
        "groups",
        "group",
        lambda company, _: list(company.catalogue.client_groups.values()),
        clients.client_group,
        pages=False,
        empty="missing",
        omits=_NO_PAGE,
    ),
    "getclientsproducts": ListAction(
        "products",
        "product",
        _services,
        subscriptions.service,
        empty="text",
        echoes=(("clientid", None), ("serviceid", None), ("pid", None), ("domain", None)),
        counts="mixed",
    ),
    "getclientsaddons": ListAction(
        "addons",
        "addon",
        _addons,
        subscriptions.addon,
        pages=False,
        empty="missing",
        echoes=(("serviceid", ""), ("clientid", "")),
        counts="text",
        omits=_NO_PAGE,
    ),
    "getclientsdomains": ListAction(
        "domains",
        "domain",
        _domains,
        subscriptions.domain,
        empty="text",
        echoes=(("clientid", ""), ("domainid", "")),
        counts="text",
    ),
    "getproducts": ListAction(
        "products", "product", _products, catalogue.product, pages=False, empty="text", omits=_NO_PAGE
    ),
    "getcancelledpackages": ListAction(
        "packages",
        "package",
        lambda company, _: list(company.requests.values()),
        subscriptions.cancelled_package,
        empty="list",
        counts="text",
    ),
    "getinvoices": ListAction("invoices", "invoice", _invoices, invoices.invoice, empty="object"),
    "gettransactions": ListAction(
        "transactions", "transaction", _transactions, invoices.transaction, pages=False, empty="text"
    ),
    "getorders": ListAction("orders", "order", _orders, orders.order, empty="list"),
    "getorderstatuses": ListAction(
        "statuses",
        "status",
        lambda _, __: ("Pending", "Active", "Fraud", "Cancelled"),
        _order_status,
        pages=False,
        omits=_NO_PAGE,
    ),
    "getcurrencies": ListAction(
        "currencies",
        "currency",
        lambda company, _: list(company.catalogue.currencies.values()),
        catalogue.currency,
        pages=False,
        counts="text",
        omits=_NO_PAGE,
    ),
    "getpromotions": ListAction(
        "promotions",
        "promotion",
        _promotions,
        catalogue.promotion,
        pages=False,
        empty="missing",
        omits=_NO_PAGE,
    ),
    "getpaymentmethods": ListAction(
        "paymentmethods",
        "paymentmethod",
        lambda company, _: list(company.catalogue.gateways.items()),
        _payment_method,
        pages=False,
        omits=_NO_PAGE,
    ),
    "getcredits": ListAction(
        "credits",
        "credit",
        _credits,
        invoices.credit,
        pages=False,
        empty="missing",
        echoes=(("clientid", ""),),
        counts="text",
        omits=_NO_PAGE,
    ),
    "getactivitylog": ListAction(
        "activity", "entry", _log, activity.log_entry, omits=frozenset({"numreturned"})
    ),
}
