"""Rows about the catalogue: products, currencies, promotions and prices of domains."""

from tools.whmcs_simulator import people
from tools.whmcs_simulator.canaries import secret
from tools.whmcs_simulator.catalogue import Currency, Product, Promotion, Tld
from tools.whmcs_simulator.company import Company
from tools.whmcs_simulator.cycles import MONTHS, ONE_TIME
from tools.whmcs_simulator.rows.formats import Row, amount, stored


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
        # WHMCS developer docs: a cycle that is not offered costs minus one. inferred: the one-time price is under monthly.
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
