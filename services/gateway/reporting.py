"""The currency into which an organization converts its amounts, and the rates for it."""

from dataclasses import dataclass
from datetime import date

from libs.common.contracts.money import MICROS, format_micros
from libs.common.database import transaction
from libs.common.figures.rates import Rates
from services.gateway import audit, repository
from services.gateway.context import Context
from services.gateway.errors import Invalid
from services.gateway.figures import rates_of_organization
from services.gateway.principals import Principal


@dataclass(frozen=True, slots=True)
class NewestRate:
    """The newest rate that a sync of an instance saw: an amount in `currency` divided by it is in the default currency of the instance."""

    instance_name: str
    currency: str
    rate: str
    seen_on: date


@dataclass(frozen=True, slots=True)
class Reporting:
    """The currency of reports, None while no rates are known. `is_chosen`: it is not the default. `currencies` can be chosen."""

    reporting_currency: str | None
    is_chosen: bool
    currencies: list[str]
    rates: list[NewestRate]


async def get_reporting(context: Context, principal: Principal) -> Reporting:
    """Return the currency of the reports of the organization, and all newest rates."""
    async with transaction(context.engine, principal.organization_id, is_snapshot=True) as connection:
        rates = await rates_of_organization(connection, principal)
        instances = await repository.instances.with_figures(connection)
    names = {instance.instance_id: instance.name for instance in instances}
    return Reporting(
        reporting_currency=rates.reporting_currency,
        is_chosen=rates.reporting is not None,
        currencies=rates.currencies,
        rates=[
            NewestRate(
                names[instance], code, format_micros(round(steps.numbers[-1] * MICROS)), steps.days[-1]
            )
            for instance in rates.instances
            for code, steps in sorted(rates.seen.get(instance, {}).items())
        ],
    )


async def choose_currency(context: Context, principal: Principal, currency: str | None) -> None:
    """Store the currency of the reports of the organization; None for the default. Raise Invalid for a currency without a rate."""
    async with transaction(context.engine, principal.organization_id) as connection:
        rates = await rates_of_organization(connection, principal)
        if currency is not None and currency not in rates.currencies:
            raise Invalid("currency_unknown", _refusal(rates), "reporting_currency")
        await repository.organizations.set_reporting_currency(connection, principal.organization_id, currency)
        await audit.record(
            connection, context, principal, "organization.reporting_currency", currency or "default"
        )


def _refusal(rates: Rates) -> str:
    if not rates.currencies:
        return "No rates are known yet. Allow GetCurrencies for the API role in WHMCS, and sync once more."
    return f"No instance has a rate for this currency. Choose one of {', '.join(rates.currencies)}."
