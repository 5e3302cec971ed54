"""Rows about customers; WHMCS calls them clients."""

from tools.whmcs_simulator import people
from tools.whmcs_simulator.canaries import PREFIXES, secret
from tools.whmcs_simulator.catalogue import ClientGroup
from tools.whmcs_simulator.company import Company
from tools.whmcs_simulator.cycles import iso
from tools.whmcs_simulator.records import Customer
from tools.whmcs_simulator.rows.formats import Row, amount, stored


def email(customer: Customer) -> str:
    name = people.host_name(customer.name).replace("-", ".")
    return f"{name}.{customer.id}@{PREFIXES['email_domain']}"


def client(company: Company, customer: Customer) -> Row:
    return {
        "id": customer.id,
        "firstname": stored(customer.first_name),
        "lastname": stored(customer.last_name),
        "companyname": stored(customer.company_name),
        "email": email(customer),
        "datecreated": iso(customer.created_on),
        "groupid": customer.group_id,
        "status": customer.status,
    }


def client_details(company: Company, customer: Customer) -> Row:
    currency = company.catalogue.currencies[customer.currency]
    code = people.CALLING_CODES[customer.country]
    number = f"{100_000_000 + customer.id * 7919 % 899_999_999}"
    field = secret("custom_field", customer.id)
    return {
        "client_id": customer.id,
        "owner_user_id": customer.id + 1000,
        "userid": customer.id,
        "id": customer.id,
        "uuid": f"{customer.id:08x}-cafe-4abc-8def-{company.seed:012x}",
        "firstname": stored(customer.first_name),
        "lastname": stored(customer.last_name),
        "fullname": stored(customer.name),
        "companyname": stored(customer.company_name),
        "email": email(customer),
        "address1": f"{PREFIXES['address']} {customer.id}",
        "address2": "",
        "city": stored(customer.city),
        "fullstate": "",
        "state": "",
        "postcode": f"{1000 + customer.id % 9000}",
        "countrycode": customer.country,
        "country": customer.country,
        "phonenumber": number,
        "tax_id": secret("tax_id", customer.id) if customer.company_name else "",
        "email_preferences": {
            group: "1" for group in ("general", "invoice", "support", "product", "domain", "affiliate")
        },
        "statecode": "",
        "countryname": people.COUNTRY_NAMES[customer.country],
        "phonecc": code,
        "phonenumberformatted": f"+{code}.{number}",
        "telephoneNumber": f"+{code}.{number}",
        "billingcid": 0,
        "notes": secret("client_notes", customer.id) if customer.id % 3 == 0 else "",
        "currency": currency.id,
        "defaultgateway": customer.gateway,
        "groupid": customer.group_id,
        "status": customer.status,
        "credit": amount(customer.credit),
        "taxexempt": customer.tax_per_mille == 0,
        "latefeeoveride": False,
        "overideduenotices": False,
        "separateinvoices": False,
        "disableautocc": False,
        "emailoptout": False,
        "marketing_emails_opt_in": customer.id % 2 == 0,
        "overrideautoclose": False,
        "allowSingleSignOn": 1,
        "email_verified": True,
        "language": "",
        "isOptedInToMarketingEmails": customer.id % 2 == 0,
        "lastlogin": "Date: 03/10/2025 10:26<br>IP Address: 198.51.100.7<br>Host: host.example",
        "currency_code": currency.code,
        # client code, fcs7/whmcs-mcp: a live WHMCS sends these four, although no page has them.
        "password": secret("client_password", customer.id),
        "securityqans": secret("security_answer", customer.id),
        "cclastfour": "",
        "cardlastfour": "",
        "customfields": [{"id": 1, "value": field}],
        "customfields1": field,
        "users": {
            "user": [
                {
                    "id": customer.id + 1000,
                    "name": stored(customer.name),
                    "email": email(customer),
                    "is_owner": True,
                }
            ]
        },
    }


def client_stats(company: Company, customer: Customer) -> Row:
    """Return counters, and sums as text with symbol and code."""
    received = sum(company.transactions[id_].amount_in for id_ in customer.transactions)
    money = {"grossRevenue": received, "expenses": 0, "income": received}
    domains = [row for row in customer.subscriptions if row.kind == "domain"]
    return {
        "incredit": customer.credit > 0,
        "creditbalance": _money(company, customer, customer.credit),
        **_invoice_stats(company, customer),
        **{name: _money(company, customer, amount) for name, amount in money.items()},
        **_service_stats(company, customer),
        "numactivedomains": sum(row.status == "Active" for row in domains),
        "numdomains": len(domains),
        "numacceptedquotes": 0,
        "numquotes": 0,
        "numtickets": 0,
        "numactivetickets": 0,
        "numaffiliatesignups": 0,
        "isAffiliate": False,
    }


def _invoice_stats(company: Company, customer: Customer) -> Row:
    invoices = [company.invoices[id_] for id_ in customer.invoices]
    stats: Row = {}
    for name, balance, status in (
        ("numdueinvoices", "dueinvoicesbalance", "Unpaid"),
        ("numunpaidinvoices", "unpaidinvoicesamount", "Unpaid"),
        ("numDraftInvoices", "draftInvoicesBalance", "Draft"),
        ("numpaidinvoices", "paidinvoicesamount", "Paid"),
        ("numcancelledinvoices", "cancelledinvoicesamount", "Cancelled"),
        ("numrefundedinvoices", "refundedinvoicesamount", "Refunded"),
        ("numcollectionsinvoices", "collectionsinvoicesamount", "Collections"),
        ("numpaymentpendinginvoices", "paymentpendinginvoicesamount", "Payment Pending"),
    ):
        chosen = [invoice for invoice in invoices if invoice.status == status]
        stats[name] = len(chosen)
        stats[balance] = _money(company, customer, sum(invoice.total for invoice in chosen))
    late = [i for i in invoices if i.status == "Unpaid" and i.due_on < company.today]
    stats["numoverdueinvoices"] = len(late)
    stats["overdueinvoicesbalance"] = _money(company, customer, sum(invoice.total for invoice in late))
    return stats


def _service_stats(company: Company, customer: Customer) -> Row:
    services = [row for row in customer.subscriptions if row.kind == "service"]
    types = {row.id: company.catalogue.products[row.product_id].type for row in services}
    stats: Row = {}
    for name, active_name, type_ in (
        ("productsnumhosting", "productsnumactivehosting", "hostingaccount"),
        ("productsnumreseller", "productsnumactivereseller", "reselleraccount"),
        ("productsnumother", "productsnumactiveother", "other"),
        ("productsnumservers", "productsnumactiveservers", "server"),
    ):
        chosen = [row for row in services if types[row.id] == type_]
        stats[name] = len(chosen)
        stats[active_name] = sum(row.status == "Active" for row in chosen)
    stats["productsnumactive"] = sum(row.status == "Active" for row in services)
    stats["productsnumtotal"] = len(services)
    return stats


def client_group(company: Company, group: ClientGroup) -> Row:
    return {
        "id": group.id,
        "groupname": stored(group.name),
        "groupcolour": group.colour,
        "discountpercent": f"{group.discount_percent}.00",
        "susptermexempt": "on" if group.suspension_exempt else "",
        "separateinvoices": "",
    }


def _money(company: Company, customer: Customer, hundredths: int) -> str:
    currency = company.catalogue.currencies[customer.currency]
    return f"{currency.prefix}{amount(hundredths)}{currency.suffix}"
