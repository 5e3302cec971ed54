"""One row of each WHMCS answer. Ids are integers and amounts text here; `drift.py` makes them vary as WHMCS does.

Names of fields and spellings of values: WHMCS developer docs, the sample of the action (copies: tests/contract/whmcs). A comment
beside what no sample shows names its source, as in answers.py.
"""

import html
from collections.abc import Callable
from typing import Any, Final

from tools.whmcs_simulator import people
from tools.whmcs_simulator.canaries import PREFIXES, secret
from tools.whmcs_simulator.catalogue import ClientGroup, Currency, Product, Promotion, Tld
from tools.whmcs_simulator.company import (
    SECONDS_OF_A_DAY,
    Company,
    Credit,
    Customer,
    Entry,
    Invoice,
    Line,
    Order,
    Request,
    Subscription,
    Transaction,
)
from tools.whmcs_simulator.cycles import FREE, MONTHS, ONE_TIME, WHMCS_NAMES, iso

Row = dict[str, Any]

# WHMCS developer docs: how a time that there is not is written. inferred: dates likewise, also the due date of what is free or paid once.
NO_MOMENT: Final = "0000-00-00 00:00:00"
_SERVERS: Final = ("Saturn", "Pluto", "Neptune")


def amount(hundredths: int) -> str:
    sign = "-" if hundredths < 0 else ""
    whole, rest = divmod(abs(hundredths), 100)
    return f"{sign}{whole}.{rest:02d}"


def moment(seconds: int) -> str:
    if not seconds:
        return NO_MOMENT
    day, second = divmod(seconds, SECONDS_OF_A_DAY)
    return f"{iso(day)} {second // 3600:02d}:{second // 60 % 60:02d}:{second % 60:02d}"


def stored(text: str) -> str:
    """Text as WHMCS keeps it: with HTML entities."""
    # client code, sensson/whmcs-moneybird, for what clients typed. inferred: for all other names, too.
    return html.escape(text).replace("&#x27;", "&#039;")


def email(customer: Customer) -> str:
    name = people.host_name(customer.name).replace("-", ".")
    return f"{name}.{customer.id}@{PREFIXES['email_domain']}"


def user_name(service: Subscription) -> str:
    return f"{PREFIXES['service_username']}{service.id}"


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
            each: "1" for each in ("general", "invoice", "support", "product", "domain", "affiliate")
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
        # client code, fcs7/whmcs-mcp: these four come, although no page has them.
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
    """Counters, and sums as text with symbol and code."""
    invoices = [company.invoices[id_] for id_ in customer.invoices]
    stats: Row = {
        "incredit": customer.credit > 0,
        "creditbalance": _money(company, customer, customer.credit),
    }
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
    received = sum(company.transactions[id_].amount_in for id_ in customer.transactions)
    for name, value in (("grossRevenue", received), ("expenses", 0), ("income", received)):
        stats[name] = _money(company, customer, value)
    services = [each for each in customer.subscriptions if each.kind == "service"]
    active = sum(each.status == "Active" for each in services)
    domains = [each for each in customer.subscriptions if each.kind == "domain"]
    types = {each.id: company.catalogue.products[each.product_id].type for each in services}
    for name, type_ in (("hosting", "hostingaccount"), ("reseller", "reselleraccount"), ("other", "other")):
        stats[f"productsnum{name}"] = sum(each == type_ for each in types.values())
        stats[f"productsnumactive{name}"] = sum(
            types[each.id] == type_ and each.status == "Active" for each in services
        )
    stats["productsnumservers"] = sum(each == "server" for each in types.values())
    stats["productsnumactiveservers"] = sum(
        types[each.id] == "server" and each.status == "Active" for each in services
    )
    return stats | {
        "productsnumactive": active,
        "productsnumtotal": len(services),
        "numactivedomains": sum(each.status == "Active" for each in domains),
        "numdomains": len(domains),
        "numacceptedquotes": 0,
        "numquotes": 0,
        "numtickets": 0,
        "numactivetickets": 0,
        "numaffiliatesignups": 0,
        "isAffiliate": False,
    }


def client_group(company: Company, group: ClientGroup) -> Row:
    return {
        "id": group.id,
        "groupname": stored(group.name),
        "groupcolour": group.colour,
        "discountpercent": f"{group.discount_percent}.00",
        "susptermexempt": "on" if group.suspension_exempt else "",
        "separateinvoices": "",
    }


def service(company: Company, service: Subscription) -> Row:
    product = company.catalogue.products.get(service.product_id)
    group = stored(company.catalogue.product_groups[product.group_id]) if product else ""
    server = service.id % 3
    order = company.orders.get(service.order_id)
    name = stored(service.name)
    has_account = bool(service.label)
    options = []
    if product and product.group_id == 4:
        value = secret("option_value", service.id)
        options = [{"id": "1", "option": "Operating System", "type": "dropdown", "value": value}]
    row: Row = {
        "id": service.id,
        # inferred: `recurringamount` contains the quantity.
        "qty": service.quantity,
        "clientid": service.customer_id,
        "orderid": service.order_id,
    }
    if order:
        row["ordernumber"] = order.number
    return row | {
        "pid": service.product_id,
        "regdate": iso(service.registered_on),
        "name": name,
        "translated_name": name,
        "groupname": group,
        "translated_groupname": group,
        "domain": service.label,
        "dedicatedip": "",
        "serverid": server + 1 if has_account else 0,
        "servername": _SERVERS[server] if has_account else "",
        "serverip": f"198.51.100.{server + 1}" if has_account else "",
        "serverhostname": f"{_SERVERS[server].lower()}.host.example" if has_account else "",
        "suspensionreason": service.suspension_reason,
        "firstpaymentamount": amount(service.first),
        "recurringamount": amount(service.recurring),
        "paymentmethod": service.gateway,
        "paymentmethodname": stored(company.catalogue.gateways[service.gateway]),
        "billingcycle": WHMCS_NAMES.get(service.cycle, service.cycle),
        "nextduedate": iso(service.next_due_on),
        "status": service.status,
        "username": user_name(service),
        "password": secret("service_password", service.id),
        "subscriptionid": secret("subscription_id", service.id)
        if service.gateway == "paypalcheckout"
        else "",
        "promoid": service.promotion_id,
        "overideautosuspend": "on" if service.never_suspend else "",
        "overidesuspenduntil": iso(None),
        "ns1": "",
        "ns2": "",
        "assignedips": "",
        "notes": secret("service_notes", service.id) if service.id % 4 == 0 else "",
        "diskusage": service.id * 37 % 900 if has_account else 0,
        "disklimit": 1000 if has_account else 0,
        "bwusage": service.id * 91 % 9000 if has_account else 0,
        "bwlimit": 0,
        "lastupdate": moment(company.today * SECONDS_OF_A_DAY + 3_600) if has_account else NO_MOMENT,
        "customfields": {
            "customfield": [
                {
                    "id": "2",
                    "name": "Secondary Contact",
                    "translated_name": "Secondary Contact",
                    "value": secret("custom_field", service.id),
                }
            ]
            if service.id % 5 == 0
            else []
        },
        "configoptions": {"configoption": options},
    }


def addon(company: Company, addon: Subscription) -> Row:
    by_catalogue = addon.product_id and addon.id % 6 == 0
    return {
        "id": addon.id,
        "qty": addon.quantity,
        "userid": addon.customer_id,
        "orderid": addon.order_id,
        "serviceid": addon.parent_id,
        "addonid": addon.product_id,
        # inferred: WHMCS leaves the name of some predefined addons empty.
        "name": "" if by_catalogue else stored(addon.name),
        "setupfee": amount(addon.setup),
        "recurring": amount(addon.recurring),
        # inferred: "Free" for addons. The other spellings: see cycles.py.
        "billingcycle": "Free" if addon.cycle == FREE else WHMCS_NAMES.get(addon.cycle, addon.cycle),
        "tax": "on",
        "status": addon.status,
        "regdate": iso(addon.registered_on),
        "nextduedate": iso(addon.next_due_on),
        "nextinvoicedate": iso(addon.next_due_on),
        "paymentmethod": addon.gateway,
        "paymentmethodname": stored(company.catalogue.gateways[addon.gateway]),
        "notes": secret("addon_notes", addon.id) if addon.id % 3 == 0 else "",
    }


def domain(company: Company, domain: Subscription) -> Row:
    return {
        "id": domain.id,
        "userid": domain.customer_id,
        "orderid": domain.order_id,
        "regtype": "Transfer" if domain.transfer else "Register",
        "domainname": domain.name,
        "registrar": "openprovider",
        "regperiod": domain.months // 12,
        "firstpaymentamount": amount(domain.first),
        "recurringamount": amount(domain.recurring),
        "paymentmethod": domain.gateway,
        "paymentmethodname": stored(company.catalogue.gateways[domain.gateway]),
        "regdate": iso(domain.registered_on),
        "expirydate": iso(domain.expires_on),
        "nextduedate": iso(domain.next_due_on),
        "status": domain.status,
        "subscriptionid": "",
        "promoid": domain.promotion_id,
        "dnsmanagement": domain.id % 2,
        "emailforwarding": 0,
        "idprotection": int(domain.id % 5 == 0),
        # WHMCS developer docs: "1". inferred: "on" and "".
        "donotrenew": "" if domain.renews else ("1" if domain.id % 2 else "on"),
        "notes": secret("domain_notes", domain.id) if domain.id % 4 == 0 else "",
    }


def product(company: Company, product: Product) -> Row:
    slug = people.host_name(product.name)
    row: Row = {
        "pid": product.id,
        "gid": product.group_id,
        "type": product.type,
        "name": stored(product.name),
        "slug": slug,
        "product_url": f"https://billing.example.com/store/group-{product.group_id}/{slug}",
        "description": f"<p>{stored(product.name)}: everything a site needs.</p>\r\n<ul><li>Fast</li></ul>",
        "module": product.module,
        "paytype": product.pay_type,
        "allowqty": 2 if product.scales else 0,
        "quantity_available": 0,
        "pricing": {
            code: _price_list(company.catalogue.currencies[code], prices, product.setup.get(code, 0))
            for code, prices in product.prices.items()
        },
        "customfields": {"customfield": []},
        "configoptions": {"configoption": []},
    }
    if product.group_id <= 2:
        row["customfields"]["customfield"] = [
            {"id": 2, "name": "Secondary Contact", "description": "Whom else may we call?", "required": ""}
        ]
    if product.group_id == 4:
        row["configoptions"]["configoption"] = [_option(product)]
    return row


def cancelled_package(company: Company, request: Request) -> Row:
    # inferred: old rows have no `created_at`, and processed requests stay in the list.
    made = moment(request.made_at)
    return {
        "id": request.id,
        "date": made,
        "relid": request.service_id,
        "reason": stored(request.reason),
        "type": "Immediate" if request.immediate else "End of Billing Period",
        "created_at": NO_MOMENT if request.id % 5 == 0 else made,
        "updated_at": NO_MOMENT if request.id % 5 == 0 else made,
    }


def invoice(company: Company, invoice: Invoice) -> Row:
    customer = company.customers[invoice.customer_id]
    currency = company.catalogue.currencies[invoice.currency]
    return {
        "id": invoice.id,
        "userid": invoice.customer_id,
        "firstname": stored(customer.first_name),
        "lastname": stored(customer.last_name),
        "companyname": stored(customer.company_name),
        "invoicenum": invoice.number,
        "date": iso(invoice.issued_on),
        "duedate": iso(invoice.due_on),
        "datepaid": moment(invoice.paid_at),
        "last_capture_attempt": moment(invoice.captured_at),
        "date_refunded": moment(invoice.refunded_at),
        "date_cancelled": moment(invoice.cancelled_at),
        # client code, Nerdscave/SevDesk-V2-WHMCS-Module: subtotal + taxes = total + credit.
        **_sums(invoice),
        "status": invoice.status,
        "paymentmethod": invoice.gateway,
        "paymethodid": None,
        "notes": _invoice_notes(invoice),
        "created_at": moment(invoice.created_at),
        "updated_at": moment(invoice.updated_at),
        "currencycode": invoice.currency,
        "currencyprefix": currency.prefix,
        "currencysuffix": currency.suffix,
    }


def invoice_details(company: Company, invoice: Invoice) -> Row:
    transactions = [company.transactions[id_] for id_ in invoice.transactions]
    received = sum(each.amount_in - each.amount_out for each in transactions)
    is_open = invoice.status in ("Unpaid", "Payment Pending", "Collections", "Draft")
    return {
        "invoiceid": invoice.id,
        "invoicenum": invoice.number,
        "userid": invoice.customer_id,
        "date": iso(invoice.issued_on),
        "duedate": iso(invoice.due_on),
        "datepaid": moment(invoice.paid_at),
        "lastcaptureattempt": moment(invoice.captured_at),
        **_sums(invoice),
        "balance": amount(invoice.total - received if is_open else 0),
        "status": invoice.status,
        "paymentmethod": invoice.gateway,
        "notes": _invoice_notes(invoice),
        "ccgateway": invoice.gateway == "mollie",
        "items": {"item": [_item(company, invoice, line) for line in invoice.lines]},
        # WHMCS developer docs: "" without payments. client code, yashodhank/whmcs-mcp-server: the fields of one.
        "transactions": {
            "transaction": [
                {
                    "id": each.id,
                    "transid": reference(each),
                    "date": moment(each.at),
                    "gateway": each.gateway,
                    "amountin": amount(each.amount_in),
                    "amountout": amount(each.amount_out),
                }
                for each in transactions
            ]
        }
        if transactions
        else "",
    }


def transaction(company: Company, transaction: Transaction) -> Row:
    return {
        "id": transaction.id,
        "userid": transaction.customer_id,
        # WHMCS developer docs, AddTransaction: an id only where no client says the currency.
        "currency": 0 if transaction.customer_id else 1,
        "gateway": transaction.gateway,
        "date": moment(transaction.at),
        "description": f"{transaction.description} {secret('transaction_text', transaction.id)}",
        "amountin": amount(transaction.amount_in),
        "fees": amount(transaction.fees),
        "amountout": amount(transaction.amount_out),
        "rate": "1.00000",
        "transid": reference(transaction),
        "invoiceid": transaction.invoice_id,
        "refundid": transaction.refund_of,
    }


def order(company: Company, order: Order) -> Row:
    customer = company.customers[order.customer_id]
    currency = company.catalogue.currencies[customer.currency]
    promotion = company.catalogue.promotions.get(order.promotion_id)
    invoice = company.invoices.get(order.invoice_id)
    fraud = f'{{"ip_country":"{customer.country}","user_order_memo":"{secret("fraud_output", order.id)}"}}'
    has_domain = any(each.kind == "domain" for each in order.subscriptions)
    return {
        "id": order.id,
        "ordernum": order.number,
        "userid": order.customer_id,
        "contactid": 0,
        "requestor_id": order.customer_id + 1000,
        "admin_requestor_id": 0,
        "date": moment(order.at),
        "nameservers": "ns1.host.example,ns2.host.example" if has_domain else "",
        "transfersecret": secret("transfer_secret", order.id) if has_domain else "",
        "renewals": "",
        "renewalsByType": {"domains": [], "services": [], "addons": []},
        "promocode": promotion.code if promotion else "",
        "promotype": promotion.type if promotion else "",
        "promovalue": f"{promotion.value}.00" if promotion else "",
        "orderdata": f'{{"note":"{secret("order_data", order.id)}"}}',
        "amount": amount(order.amount),
        "paymentmethod": order.gateway,
        "invoiceid": order.invoice_id,
        "status": order.status,
        "ipaddress": f"203.0.113.{order.id % 250 + 1}",
        "fraudmodule": "fraudlabs",
        "fraudoutput": fraud,
        "notes": secret("order_notes", order.id) if order.id % 9 == 0 else "",
        "paymentmethodname": stored(company.catalogue.gateways[order.gateway]),
        "paymentstatus": invoice.status if invoice else ("" if order.invoice_id else "No Invoice"),
        "name": stored(customer.name),
        "currencyprefix": currency.prefix,
        "currencysuffix": currency.suffix.strip(),
        "frauddata": "",
        "validationdata": "",
        "lineitems": {
            "lineitem": [
                _order_line(currency, each) for each in order.subscriptions if each.status != "Deleted"
            ]
        },
    }


def currency(company: Company, currency: Currency) -> Row:
    return {
        "id": currency.id,
        "code": currency.code,
        "prefix": currency.prefix,
        "suffix": currency.suffix,
        "format": currency.format,
        "rate": currency.rate,
    }


def promotion(company: Company, promotion: Promotion) -> Row:
    return {
        "id": promotion.id,
        "code": promotion.code,
        "type": promotion.type,
        "recurring": int(promotion.recurring),
        "value": promotion.value,
        "cycles": "",
        "appliesto": "",
        "requires": "",
        "requiresexisting": 0,
        "startdate": promotion.starts_on,
        "expirationdate": promotion.ends_on,
        "maxuses": 0,
        "uses": sum(order.promotion_id == promotion.id for order in company.orders.values()),
        "lifetimepromo": 0,
        "applyonce": 0,
        "newsignups": int(promotion.code == "WELCOME20"),
        "existingclient": 0,
        "onceperclient": 0,
        "recurfor": promotion.renewals,
        "upgrades": 0,
        "upgradeconfig": 'a:1:{s:5:"value";s:4:"0.00";}',
        "notes": secret("promotion_notes", promotion.id),
    }


def credit(company: Company, credit: Credit) -> Row:
    return {
        "id": credit.id,
        "date": iso(credit.day),
        "description": credit.description,
        "amount": amount(credit.amount),
        "relid": credit.related_id,
    }


# inferred: who acted and from where, of entries that no person made.
LOG_USER: Final = "System"
LOG_ADDRESS: Final = "203.0.113.7"


def log_entry(company: Company, entry: Entry) -> Row:
    return {
        "id": entry.id,
        "clientId": entry.customer_id,
        "userId": 0,
        "adminId": 0,
        "date": moment(entry.at),
        "description": f"{entry.text} {secret('log_text', entry.id)}",
        "username": LOG_USER,
        "ipaddress": LOG_ADDRESS,
        "userid": entry.customer_id,
    }


def tld_price(tld: Tld, code: str) -> Row:
    price = tld.yearly[code]
    prices = {str(years): amount(price * years) for years in (1, 2, 3, 5, 10)}
    return {
        "tld": tld.name,
        "categories": ["Popular"],
        "addons": {"dns": True, "email": False, "idprotect": True},
        "group": "",
        "register": prices | {"4": "0"},
        "transfer": {"1": amount(price)},
        "renew": prices,
        "grace_period": {"days": 30, "price": {}},
        "redemption_period": None,
    }


def _price_list(currency: Currency, prices: dict[str, int], setup: int) -> Row:
    list_: Row = {"prefix": currency.prefix, "suffix": currency.suffix}
    for cycle in MONTHS:
        list_[f"{cycle[0]}setupfee"] = amount(setup if cycle == "monthly" else 0)
    for cycle in MONTHS:
        # WHMCS developer docs: what is not offered costs minus one. inferred: a one-time price stands under monthly.
        once = prices.get(ONE_TIME, -100 if len(prices) else 0) if cycle == "monthly" else -100
        list_[cycle] = amount(prices.get(cycle, 0 if "free" in prices else once))
    return list_


def _option(product: Product) -> Row:
    zero = {f"{cycle[0]}setupfee": "0.00" for cycle in MONTHS} | dict.fromkeys(MONTHS, "0.00")
    pricing = {code: dict(zero) for code in product.prices}
    choice = {
        "id": 4,
        "name": "Debian",
        "rawName": None,
        "recurring": 0,
        "required": None,
        "pricing": pricing,
    }
    return {
        "id": 4,
        "name": "Operating System",
        "type": "1",
        "minqty": 0,
        "maxqty": 0,
        "options": {"option": [choice]},
    }


def _sums(invoice: Invoice) -> Row:
    return {
        "subtotal": amount(invoice.subtotal),
        "credit": amount(invoice.credit),
        "tax": amount(invoice.tax),
        "tax2": "0.00",
        "total": amount(invoice.total),
        "taxrate": f"{invoice.tax_per_mille // 10}.{invoice.tax_per_mille % 10}00",
        "taxrate2": "0.000",
    }


def _invoice_notes(invoice: Invoice) -> str:
    return secret("invoice_notes", invoice.id) if invoice.id % 11 == 0 else ""


def _item(company: Company, invoice: Invoice, line: Line) -> Row:
    period = ""
    if line.period_from:
        period = f" ({_local(line.period_from)} - {_local(line.period_to)})"
    return {
        "id": line.id,
        "type": line.type,
        "relid": line.related_id,
        "description": stored(line.text) + period,
        "amount": amount(line.amount),
        "taxed": int(line.taxed and invoice.tax_per_mille > 0),
    }


def _order_line(currency: Currency, subscription: Subscription) -> Row:
    kinds: dict[str, tuple[str, str]] = {
        "service": ("product", "Product/Service"),
        "addon": ("addon", "Addon"),
        "domain": ("domain", "Domain"),
    }
    kind, product_type = kinds[subscription.kind]
    return {
        "type": kind,
        "relid": subscription.id,
        "producttype": product_type,
        "product": stored(subscription.name),
        "domain": subscription.label or (subscription.name if subscription.kind == "domain" else ""),
        "billingcycle": WHMCS_NAMES.get(subscription.cycle, "Annually").replace("One Time", "One-Time"),
        "amount": f"{currency.prefix}{amount(subscription.first)}{currency.suffix}",
        "status": subscription.status,
    }


def reference(transaction: Transaction) -> str:
    return secret("transaction_reference", transaction.id) if transaction.amount_in else ""


def _money(company: Company, customer: Customer, hundredths: int) -> str:
    currency = company.catalogue.currencies[customer.currency]
    return f"{currency.prefix}{amount(hundredths)}{currency.suffix}"


def _local(day: int) -> str:
    """A date in the site's own format, as it stands in the text of invoice lines."""
    year, month, of_month = iso(day).split("-")
    return f"{of_month}/{month}/{year}"


RowOf = Callable[[Company, Any], Row]
