"""Rows about orders."""

from tools.whmcs_simulator.canaries import secret
from tools.whmcs_simulator.catalogue import Currency
from tools.whmcs_simulator.company import Company
from tools.whmcs_simulator.cycles import WHMCS_NAMES
from tools.whmcs_simulator.records import Order, Subscription
from tools.whmcs_simulator.rows.formats import Row, amount, moment, stored


def order(company: Company, order: Order) -> Row:
    customer = company.customers[order.customer_id]
    currency = company.catalogue.currencies[customer.currency]
    promotion = company.catalogue.promotions.get(order.promotion_id)
    invoice = company.invoices.get(order.invoice_id)
    fraud = f'{{"ip_country":"{customer.country}","user_order_memo":"{secret("fraud_output", order.id)}"}}'
    has_domain = any(row.kind == "domain" for row in order.subscriptions)
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
            "lineitem": [_order_line(currency, row) for row in order.subscriptions if row.status != "Deleted"]
        },
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
