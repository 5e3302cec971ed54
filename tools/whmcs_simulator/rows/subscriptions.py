"""Rows about services, addons, domains and cancellation requests."""

from typing import Final

from tools.whmcs_simulator.canaries import PREFIXES, secret
from tools.whmcs_simulator.company import Company
from tools.whmcs_simulator.cycles import FREE, WHMCS_NAMES, iso
from tools.whmcs_simulator.records import SECONDS_OF_A_DAY, Request, Subscription
from tools.whmcs_simulator.rows.formats import NO_MOMENT, Row, amount, moment, stored

_SERVERS: Final = ("Saturn", "Pluto", "Neptune")


def user_name(service: Subscription) -> str:
    return f"{PREFIXES['service_username']}{service.id}"


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
        **_quantity(company, service),
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
        **_quantity(company, addon),
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


def _quantity(company: Company, subscription: Subscription) -> Row:
    return {"qty": subscription.quantity} if company.profile.has_quantities else {}
