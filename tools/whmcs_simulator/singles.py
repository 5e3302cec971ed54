"""The actions whose answer is not a list. Comments name the sources of guesses as answers.py says."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

from tools.whmcs_simulator.company import Company
from tools.whmcs_simulator.cycles import iso
from tools.whmcs_simulator.parameters import Parameters, Refused
from tools.whmcs_simulator.records import SECONDS_OF_A_DAY
from tools.whmcs_simulator.rows import catalogue, clients, formats, invoices

Answer = dict[str, Any]


def _client_details(company: Company, parameters: Parameters) -> Answer:
    if "clientid" in parameters:
        customer = company.customers.get(int(parameters["clientid"]))
    elif "email" in parameters:
        emails = {clients.email(row): row for row in company.customers.values()}
        customer = emails.get(parameters["email"])
    else:
        raise Refused("Either clientid Or email Is Required")
    if customer is None:  # both texts: WHMCS developer docs, GetClientsDetails
        raise Refused("Client Not Found")
    details = clients.client_details(company, customer)
    # WHMCS developer docs, GetClientsDetails: the same fields again at the top, deprecated and still there.
    body = {**details, "client": details}
    if "stats" in parameters:
        body["stats"] = clients.client_stats(company, customer)
    return body


def _invoice(company: Company, parameters: Parameters) -> Answer:
    invoice = company.invoices.get(int(parameters["invoiceid"]))
    if invoice is None:  # WHMCS developer docs, GetInvoice
        raise Refused("Invoice ID Not Found")
    return invoices.invoice_details(company, invoice)


def _tld_pricing(company: Company, parameters: Parameters) -> Answer:
    currencies = {str(row.id): row for row in company.catalogue.currencies.values()}
    customer = company.customers.get(int(parameters.get("clientid", 0)))
    currency = currencies.get(parameters.get("currencyid", "1"), currencies["1"])
    if customer:  # inferred: the client's currency wins
        currency = company.catalogue.currencies[customer.currency]
    pricing = {tld.name: catalogue.tld_price(tld, currency.code) for tld in company.catalogue.tlds.values()}
    return {"currency": catalogue.currency(company, currency), "pricing": pricing}


def _whmcs_details(company: Company, _: Parameters) -> Answer:
    version = company.profile.version
    return {"whmcs": {"version": version, "canonicalversion": f"{version}-release.1"}}


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
    """Return counters of today and of the last days. Sums are text, in the default currency alone."""
    # WHMCS developer docs, GetStats: names, sums as text, at most 90 days. inferred: what each counter counts, and 7 days unless asked.
    days = min(90, max(1, int(parameters.get("timeline_days", 7))))
    timeline = {iso(day): _orders(company, day) for day in range(company.today, company.today - days, -1)}
    zero = dict.fromkeys(timeline, "0.00")
    return {
        **_income_stats(company),
        **_order_stats(company),
        **dict.fromkeys(_ALWAYS_ZERO, 0),
        "cancellations_pending": sum(
            row.status == "Active" and row.request is not None for row in company.services.values()
        ),
        "staff_online": 1,
        "timeline_data": {
            "new_orders": timeline,
            "accepted_orders": timeline,
            "income": zero,
            "expenditure": zero,
            "new_tickets": dict.fromkeys(timeline, 0),
        },
    }


def _orders(company: Company, day: int, status: str | None = None) -> int:
    """Return how many orders of a day have the status; without `status` all of them."""
    return sum(
        order.at // SECONDS_OF_A_DAY == day and status in (None, order.status)
        for order in company.orders.values()
    )


def _income_stats(company: Company) -> Answer:
    def income(since: int) -> str:
        received = sum(
            row.amount_in - row.amount_out
            for row in company.transactions.values()
            if row.at // SECONDS_OF_A_DAY >= since
        )
        return f"€{formats.amount(received)} EUR"

    return {
        "income_today": income(company.today),
        "income_thismonth": income(company.first_of_month),
        "income_thisyear": income(company.first_of_year),
        "income_alltime": income(0),
    }


def _order_stats(company: Company) -> Answer:
    orders = company.orders.values()
    body: Answer = {"orders_pending": sum(order.status == "Pending" for order in orders)}
    for name, day in (("today", company.today), ("yesterday", company.today - 1)):
        for status in ("Cancelled", "Pending", "Fraud", "Active"):
            body[f"orders_{name}_{status.lower()}"] = _orders(company, day, status)
        body[f"orders_{name}_total"] = _orders(company, day)
    for name, since in (("thismonth", company.first_of_month), ("thisyear", company.first_of_year)):
        body[f"orders_{name}_total"] = sum(order.at // SECONDS_OF_A_DAY >= since for order in orders)
    return body


def _automation_log(company: Company, parameters: Parameters) -> Answer:
    # inferred: the daily job has just run, and the answer covers a week unless asked otherwise.
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


def _admin_details(company: Company, _: Parameters) -> Answer:
    return {
        "adminid": "1",
        "name": "Site Admin",
        "notes": "",
        "signature": "",
        "allowedpermissions": "Main Homepage,List Clients,List Services,List Addons,List Domains,List Invoices,API Access",
        "departments": ",1,",
        **_whmcs_details(company, _),
    }


SINGLES: Final[dict[str, Callable[[Company, Parameters], Answer]]] = {
    "getclientsdetails": _client_details,
    "getinvoice": _invoice,
    "gettldpricing": _tld_pricing,
    "whmcsdetails": _whmcs_details,
    "getstats": _stats,
    "getautomationlog": _automation_log,
    "getconfigurationvalue": _configuration_value,
    "getadmindetails": _admin_details,
}
