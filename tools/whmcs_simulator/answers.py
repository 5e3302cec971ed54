"""The answer of every read action, as a live WHMCS gives it: filters, paging, envelopes and the shapes of empty lists.

A comment beside what no official sample shows names its source: "WHMCS developer docs" and the page, "client code" and the public
repository that does or records it, or "inferred" for a guess. parameters.py does the same for what is asked.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from operator import attrgetter
from typing import Any, Final, Literal

from tools.whmcs_simulator import rows
from tools.whmcs_simulator.company import SECONDS_OF_A_DAY, Company, Customer, Subscription
from tools.whmcs_simulator.cycles import iso
from tools.whmcs_simulator.drift import Drift, drifted
from tools.whmcs_simulator.parameters import PARAMETERS, Refused, given

Parameters = dict[str, str]
Answer = dict[str, Any]

VERSION: Final = "8.13.1"
DEFAULT_PAGE: Final = 25


@dataclass(frozen=True, slots=True)
class List:
    """One list action. `select` filters and sorts; `empty` is the shape of the list without rows."""

    plural: str
    singular: str
    select: Callable[[Company, Parameters], Sequence[Any]]
    row: rows.RowOf
    pages: bool = True
    # client code, fcs7/whmcs-mcp, has seen a missing key and "" on a live system; [], {} and an inner [] are what other clients accept.
    empty: Literal["missing", "text", "list", "object", "wrapped"] = "wrapped"
    echoes: tuple[tuple[str, str | None], ...] = ()
    """Filters that the envelope repeats, with what stands there when they are not given."""
    # WHMCS developer docs: the samples differ between actions, and within one answer.
    counts: Literal["numbers", "text", "mixed"] = "numbers"
    leaves_out: frozenset[str] = frozenset()


class Answers:
    """Answers for one company; `drift` says how types vary."""

    def __init__(self, company: Company, drift: Drift = "varied") -> None:
        self.company = company
        self.drift: Drift = drift
        self._selected: dict[tuple[object, ...], Sequence[Any]] = {}
        self._revision = company.revision

    def knows(self, action: str) -> bool:
        return action.lower() in PARAMETERS

    def answer(self, parameters: Parameters) -> Answer:
        """The body of a successful call. Raises Refused with WHMCS's text."""
        action = parameters["action"].lower()
        parameters = given(action, parameters)
        list_ = _LISTS.get(action)
        if list_:
            return self._list(action, list_, parameters)
        return {"result": "success", **_SINGLES[action](self.company, parameters)}

    def _list(self, action: str, list_: List, parameters: Parameters) -> Answer:
        selected = self._select(action, list_, parameters)
        start = max(0, int(parameters.get("limitstart", 0))) if list_.pages else 0
        # WHMCS developer docs: 25 rows unless asked otherwise. inferred: that holds for 0, less than 0 and what is no number, too.
        size = int(parameters.get("limitnum", DEFAULT_PAGE)) if list_.pages else len(selected)
        page = selected[start : start + (size if size > 0 else DEFAULT_PAGE)] if list_.pages else selected
        body: Answer = {"result": "success"}
        for name, absent in list_.echoes:
            body[name] = parameters.get(name, absent)
        counts = {"totalresults": len(selected), "startnumber": start, "numreturned": len(page)}
        for name, count in counts.items():
            if name not in list_.leaves_out:
                is_text = list_.counts == "text" or (list_.counts == "mixed" and name == "totalresults")
                body[name] = str(count) if is_text else count
        if page or list_.empty == "wrapped":
            body[list_.plural] = {list_.singular: [self._row(list_, each) for each in page]}
        elif list_.empty != "missing":
            body[list_.plural] = {"text": "", "list": [], "object": {}}[list_.empty]
        return body

    def _row(self, list_: List, each: Any) -> rows.Row:
        row = list_.row(self.company, each)
        return drifted(row, getattr(each, "id", 0), self.drift)

    def _select(self, action: str, list_: List, parameters: Parameters) -> Sequence[Any]:
        """Selections are kept until the company changes: a scan asks for the same one, page by page."""
        if self._revision != self.company.revision:
            self._selected.clear()
            self._revision = self.company.revision
        page = ("limitstart", "limitnum")
        key = (action, *sorted(item for item in parameters.items() if item[0] not in page))
        if key not in self._selected:
            if len(self._selected) > 32:
                self._selected.clear()
            self._selected[key] = list_.select(self.company, parameters)
        return self._selected[key]


def _ids(text: str) -> set[int]:
    return {int(each) for each in text.split(",")}


def _where(rows_: Iterable[Any], wanted: str | None, value_of: Callable[[Any], object]) -> Iterable[Any]:
    """The rows whose value is the wanted one, without regard to case: all of them when the filter is not given."""
    # inferred: MySQL compares text without regard to case.
    if wanted is None:
        return rows_
    text = wanted.lower()
    rows_ = list(rows_)
    values = list(map(value_of, rows_))
    # Few values, many rows: each value is judged once.
    accepted = {value for value in set(values) if str(value).lower() == text}
    return [each for each, value in zip(rows_, values, strict=True) if value in accepted]


def _clients(company: Company, parameters: Parameters) -> list[Customer]:
    chosen = _where(company.customers.values(), parameters.get("status"), attrgetter("status"))
    if search := parameters.get("search", "").lower():
        chosen = [each for each in chosen if _begins_with(each, search)]
    # inferred: without an order WHMCS sorts by name, which moves when customers come. No page says by what it sorts.
    by = _CLIENT_ORDERS.get(
        parameters.get("orderby", "").lower(), lambda each: (each.last_name, each.first_name)
    )
    return sorted(chosen, key=by, reverse=parameters.get("sorting", "").upper() == "DESC")


def _begins_with(customer: Customer, search: str) -> bool:
    texts = (customer.name, customer.last_name, customer.company_name, rows.email(customer))
    return any(text.lower().startswith(search) for text in texts)


_CLIENT_ORDERS: Final[dict[str, Callable[[Customer], Any]]] = {
    "id": attrgetter("id"),
    "firstname": attrgetter("first_name"),
    "lastname": attrgetter("last_name"),
    "companyname": attrgetter("company_name"),
    "email": rows.email,
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
        (each for each in (customer.subscriptions if customer else ()) if each.kind == kind),
        key=lambda each: each.id,
    )


def _services(company: Company, parameters: Parameters) -> Sequence[Subscription]:
    chosen: Iterable[Any] = _of_customer(company, parameters, "service")
    chosen = _where(chosen, parameters.get("serviceid"), attrgetter("id"))
    chosen = _where(chosen, parameters.get("pid"), attrgetter("product_id"))
    chosen = _where(chosen, parameters.get("domain"), attrgetter("label"))
    return list(_where(chosen, parameters.get("username2"), rows.user_name))


def _addons(company: Company, parameters: Parameters) -> Sequence[Subscription]:
    chosen: Iterable[Any] = _of_customer(company, parameters, "addon")
    if text := parameters.get("serviceid"):
        services = _ids(text)
        chosen = [each for each in chosen if each.parent_id in services]
    # inferred: the id of the client's addon, as the row's `id`.
    return list(_where(chosen, parameters.get("addonid"), attrgetter("id")))


def _domains(company: Company, parameters: Parameters) -> Sequence[Subscription]:
    chosen: Iterable[Any] = _of_customer(company, parameters, "domain")
    chosen = _where(chosen, parameters.get("domainid"), attrgetter("id"))
    return list(_where(chosen, parameters.get("domain"), attrgetter("name")))


def _products(company: Company, parameters: Parameters) -> Sequence[Any]:
    # inferred: a retired product is not listed; the page calls the action one "for custom order forms".
    chosen: Iterable[Any] = [each for each in company.catalogue.products.values() if each.weight]
    if text := parameters.get("pid"):
        ids = _ids(text)
        chosen = [each for each in chosen if each.id in ids]
    chosen = _where(chosen, parameters.get("gid"), attrgetter("group_id"))
    return list(_where(chosen, parameters.get("module"), attrgetter("module")))


def _invoices(company: Company, parameters: Parameters) -> Sequence[Any]:
    chosen: Iterable[Any] = company.invoices.values()
    if text := parameters.get("userid"):
        customer = company.customers.get(int(text))
        chosen = [company.invoices[id_] for id_ in customer.invoices] if customer else []
    # WHMCS developer docs, GetInvoices: `Overdue` is a filter. inferred: its rows say Unpaid.
    if parameters.get("status", "").lower() == "overdue":
        chosen = [each for each in chosen if each.status == "Unpaid" and each.due_on < company.today]
    else:
        chosen = _where(chosen, parameters.get("status"), attrgetter("status"))
    by = _INVOICE_ORDERS.get(parameters.get("orderby", "").lower())
    # Rows are kept by id. inferred: without an order the newest come first, so that pages move when invoices come.
    found = sorted(chosen, key=by) if by else list(chosen)
    if parameters.get("order", "asc" if "orderby" in parameters else "desc").lower() == "desc":
        found.reverse()
    return found


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
    return list(_where(chosen, parameters.get("transid"), rows.reference))


def _orders(company: Company, parameters: Parameters) -> Sequence[Any]:
    chosen: Iterable[Any] = company.orders.values()
    chosen = _where(chosen, parameters.get("id"), attrgetter("id"))
    chosen = _where(chosen, parameters.get("userid"), attrgetter("customer_id"))
    chosen = _where(chosen, parameters.get("requestor_id"), lambda each: each.customer_id + 1000)
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
    chosen = _where(chosen, parameters.get("date"), lambda each: _local(each.at // SECONDS_OF_A_DAY))
    if text := parameters.get("description"):
        chosen = [each for each in chosen if text in each.text]
    chosen = _where(chosen, parameters.get("user"), lambda _: rows.LOG_USER)
    return list(_where(chosen, parameters.get("ipaddress"), lambda _: rows.LOG_ADDRESS))


def _local(day: int) -> str:
    return date.fromordinal(day).strftime("%d/%m/%Y")


def _payment_method(_: Company, gateway: tuple[str, str]) -> rows.Row:
    return {"module": gateway[0], "displayname": rows.stored(gateway[1])}


def _order_status(company: Company, title: str) -> rows.Row:
    return {"title": title, "count": sum(order.status == title for order in company.orders.values())}


# `empty`: client code, fcs7/whmcs-mcp, for addons, groups and promotions (missing); it saw "" for lists that it does not tie to an
# action; all others are inferred. `counts`, `echoes` and `leaves_out`: WHMCS developer docs, the sample of the action.
_NO_PAGE: Final = frozenset({"startnumber", "numreturned"})
_LISTS: Final[dict[str, List]] = {
    "getclients": List("clients", "client", _clients, rows.client, empty="wrapped"),
    "getclientgroups": List(
        "groups",
        "group",
        lambda company, _: list(company.catalogue.client_groups.values()),
        rows.client_group,
        pages=False,
        empty="missing",
        leaves_out=_NO_PAGE,
    ),
    "getclientsproducts": List(
        "products",
        "product",
        _services,
        rows.service,
        empty="text",
        echoes=(("clientid", None), ("serviceid", None), ("pid", None), ("domain", None)),
        counts="mixed",
    ),
    "getclientsaddons": List(
        "addons",
        "addon",
        _addons,
        rows.addon,
        pages=False,
        empty="missing",
        echoes=(("serviceid", ""), ("clientid", "")),
        counts="text",
        leaves_out=_NO_PAGE,
    ),
    "getclientsdomains": List(
        "domains",
        "domain",
        _domains,
        rows.domain,
        empty="text",
        echoes=(("clientid", ""), ("domainid", "")),
        counts="text",
    ),
    "getproducts": List(
        "products", "product", _products, rows.product, pages=False, empty="text", leaves_out=_NO_PAGE
    ),
    "getcancelledpackages": List(
        "packages",
        "package",
        lambda company, _: list(company.requests.values()),
        rows.cancelled_package,
        empty="list",
        counts="text",
    ),
    "getinvoices": List("invoices", "invoice", _invoices, rows.invoice, empty="object"),
    "gettransactions": List(
        "transactions", "transaction", _transactions, rows.transaction, pages=False, empty="text"
    ),
    "getorders": List("orders", "order", _orders, rows.order, empty="list"),
    "getorderstatuses": List(
        "statuses",
        "status",
        lambda _, __: ("Pending", "Active", "Fraud", "Cancelled"),
        _order_status,
        pages=False,
        leaves_out=_NO_PAGE,
    ),
    "getcurrencies": List(
        "currencies",
        "currency",
        lambda company, _: list(company.catalogue.currencies.values()),
        rows.currency,
        pages=False,
        counts="text",
        leaves_out=_NO_PAGE,
    ),
    "getpromotions": List(
        "promotions",
        "promotion",
        _promotions,
        rows.promotion,
        pages=False,
        empty="missing",
        leaves_out=_NO_PAGE,
    ),
    "getpaymentmethods": List(
        "paymentmethods",
        "paymentmethod",
        lambda company, _: list(company.catalogue.gateways.items()),
        _payment_method,
        pages=False,
        leaves_out=_NO_PAGE,
    ),
    "getcredits": List(
        "credits",
        "credit",
        _credits,
        rows.credit,
        pages=False,
        empty="missing",
        echoes=(("clientid", ""),),
        counts="text",
        leaves_out=_NO_PAGE,
    ),
    "getactivitylog": List("activity", "entry", _log, rows.log_entry, leaves_out=frozenset({"numreturned"})),
}


def _client_details(company: Company, parameters: Parameters) -> Answer:
    if "clientid" in parameters:
        customer = company.customers.get(int(parameters["clientid"]))
    elif "email" in parameters:
        emails = {rows.email(each): each for each in company.customers.values()}
        customer = emails.get(parameters["email"])
    else:
        raise Refused("Either clientid Or email Is Required")
    if customer is None:  # both texts: WHMCS developer docs, GetClientsDetails
        raise Refused("Client Not Found")
    details = rows.client_details(company, customer)
    # WHMCS developer docs, GetClientsDetails: the same fields again at the top, deprecated and still there.
    body = {**details, "client": details}
    if "stats" in parameters:
        body["stats"] = rows.client_stats(company, customer)
    return body


def _invoice(company: Company, parameters: Parameters) -> Answer:
    invoice = company.invoices.get(int(parameters["invoiceid"]))
    if invoice is None:  # WHMCS developer docs, GetInvoice
        raise Refused("Invoice ID Not Found")
    return rows.invoice_details(company, invoice)


def _tld_pricing(company: Company, parameters: Parameters) -> Answer:
    currencies = {str(each.id): each for each in company.catalogue.currencies.values()}
    customer = company.customers.get(int(parameters.get("clientid", 0)))
    currency = currencies.get(parameters.get("currencyid", "1"), currencies["1"])
    if customer:  # inferred: the client's currency wins
        currency = company.catalogue.currencies[customer.currency]
    pricing = {tld.name: rows.tld_price(tld, currency.code) for tld in company.catalogue.tlds.values()}
    return {"currency": rows.currency(company, currency), "pricing": pricing}


def _whmcs_details(_: Company, __: Parameters) -> Answer:
    return {"whmcs": {"version": VERSION, "canonicalversion": f"{VERSION}-release.1"}}


_ALWAYS_ZERO: Final = (
    "tickets_allactive",
    "tickets_awaitingreply",
    "tickets_flaggedtickets",
    "tickets_open",
    "tickets_answered",
    "tickets_customerreply",
    "tickets_closed",
    "tickets_onhold",
    "tickets_inprogress",
    "todoitems_due",
    "networkissues_open",
    "billableitems_uninvoiced",
    "quotes_valid",
)


def _stats(company: Company, parameters: Parameters) -> Answer:
    """Counters of today and of the last days; sums are text, of the default currency alone."""
    # WHMCS developer docs, GetStats: names, sums as text, at most 90 days. inferred: what each counter counts, and 7 days unless asked.
    orders = company.orders.values()
    timeline = {}
    for days_ago in range(min(90, max(1, int(parameters.get("timeline_days", 7))))):
        day = company.today - days_ago
        timeline[iso(day)] = sum(order.at // SECONDS_OF_A_DAY == day for order in orders)

    def placed(day: int, status: str | None = None) -> int:
        return sum(order.at // SECONDS_OF_A_DAY == day and status in (None, order.status) for order in orders)

    def income(since: int) -> str:
        received = sum(
            each.amount_in - each.amount_out
            for each in company.transactions.values()
            if each.at // SECONDS_OF_A_DAY >= since
        )
        return f"€{rows.amount(received)} EUR"

    today = date.fromordinal(company.today)
    body: Answer = {
        "income_today": income(company.today),
        "income_thismonth": income(today.replace(day=1).toordinal()),
        "income_thisyear": income(today.replace(month=1, day=1).toordinal()),
        "income_alltime": income(0),
        "orders_pending": sum(order.status == "Pending" for order in orders),
    }
    for name, day in (("today", company.today), ("yesterday", company.today - 1)):
        for status in ("Cancelled", "Pending", "Fraud", "Active"):
            body[f"orders_{name}_{status.lower()}"] = placed(day, status)
        body[f"orders_{name}_total"] = placed(day)
    first_of_month = today.replace(day=1).toordinal()
    first_of_year = today.replace(month=1, day=1).toordinal()
    body["orders_thismonth_total"] = sum(o.at // SECONDS_OF_A_DAY >= first_of_month for o in orders)
    body["orders_thisyear_total"] = sum(o.at // SECONDS_OF_A_DAY >= first_of_year for o in orders)
    for name in _ALWAYS_ZERO:
        body[name] = 0
    body["cancellations_pending"] = sum(
        each.status == "Active" and each.request is not None for each in company.services.values()
    )
    zero = dict.fromkeys(timeline, "0.00")
    return body | {
        "staff_online": 1,
        "timeline_data": {
            "new_orders": timeline,
            "accepted_orders": timeline,
            "income": zero,
            "expenditure": zero,
            "new_tickets": dict.fromkeys(timeline, 0),
        },
    }


def _automation_log(company: Company, parameters: Parameters) -> Answer:
    # inferred: the daily job has just run, and a week is told unless asked otherwise.
    time = datetime.now(UTC).strftime("%H:%M:%S")
    today = iso(company.today)
    return {
        "currentDatetime": f"{today} {time}",
        "lastDailyCronInvocationTime": f"{today} 00:00:05",
        "startdate": parameters.get("startdate", f"{iso(company.today - 7)} 00:00:00"),
        "enddate": parameters.get("enddate", f"{today} 23:59:59"),
        "statistics": {today: {"Invoices": {"invoice.created": 1}}},
    }


def _configuration_value(_: Company, parameters: Parameters) -> Answer:
    setting = parameters["setting"]
    values = {
        "DateFormat": "DD/MM/YYYY",
        "TaxType": "Exclusive",
        "SystemURL": "https://billing.example.com/whmcs/",
        "CompanyName": "Example Hosting",
    }
    if setting not in values:  # WHMCS developer docs, GetConfigurationValue
        raise Refused("Invalid name for parameter ”setting”")
    return {"setting": setting, "value": values[setting]}


def _admin_details(_: Company, __: Parameters) -> Answer:
    return {
        "adminid": "1",
        "name": "Site Admin",
        "notes": "",
        "signature": "",
        "allowedpermissions": "Main Homepage,List Clients,List Services,List Addons,List Domains,List Invoices,API Access",
        "departments": ",1,",
        "whmcs": {"version": VERSION, "canonicalversion": f"{VERSION}-release.1"},
    }


_SINGLES: Final[dict[str, Callable[[Company, Parameters], Answer]]] = {
    "getclientsdetails": _client_details,
    "getinvoice": _invoice,
    "gettldpricing": _tld_pricing,
    "whmcsdetails": _whmcs_details,
    "getstats": _stats,
    "getautomationlog": _automation_log,
    "getconfigurationvalue": _configuration_value,
    "getadmindetails": _admin_details,
}
ACTIONS: Final = frozenset(_LISTS) | frozenset(_SINGLES)
