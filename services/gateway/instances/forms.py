"""Read the form of an instance: entries become valid values, or errors that name their fields."""

from dataclasses import dataclass
from datetime import date
from typing import Any, Final

from libs.common.addresses import normalise_url
from libs.common.calendar import time_zones
from libs.common.contracts.instances import InstanceSettings
from libs.common.errors import Permanent
from services.gateway.errors import Invalid
from services.gateway.names import read_name

# No WHMCS is older than the first of these, and arithmetic with days fails at the ends of the calendar.
_YEARS: Final = range(1990, 2200)


@dataclass(frozen=True, slots=True)
class InstanceForm:
    """The entries of a person or program. None means not given.

    An empty `time_zone`, `requests_per_second` or `history_start` clears the setting.
    """

    name: str | None = None
    url: str | None = None
    identifier: str | None = None
    secret: str | None = None
    access_key: str | None = None
    time_zone: str | None = None
    requests_per_second: str | None = None
    prices_include_tax: bool | None = None
    history_start: str | None = None


@dataclass(frozen=True, slots=True)
class Entries:
    """The values of a form. `secrets` is empty when none were given. With `errors`, the values must not be stored."""

    name: str
    address: str
    secrets: dict[str, str]
    settings: InstanceSettings
    errors: list[Invalid]


def read_new(form: InstanceForm) -> Entries:
    """Return the values for a new instance, which needs a name, an address and credentials."""
    errors: list[Invalid] = []
    return Entries(
        name=read_name(form.name or "", errors),
        address=_address(form.url, errors),
        secrets=_secrets(form, errors, is_needed=True),
        settings=_settings(form, InstanceSettings(), errors),
        errors=errors,
    )


def read_change(form: InstanceForm, name: str, address: str, settings: InstanceSettings) -> Entries:
    """Return the values for an instance that has these values now; fields that the form does not give stay.

    A new address needs credentials, because the stored ones are sealed for the old address.
    """
    errors: list[Invalid] = []
    new_name = name if form.name is None else read_name(form.name or "", errors)
    new_address = address if form.url is None else _address(form.url, errors)
    secrets = _secrets(form, errors)
    if not secrets and not errors and new_address != address:
        text = "A new address needs the API identifier and secret again. The stored ones are encrypted for the old address."
        errors.append(Invalid("credentials_required", text, "identifier"))
    return Entries(new_name, new_address, secrets, _settings(form, settings, errors), errors)


def _address(text: str | None, errors: list[Invalid]) -> str:
    if not (text or "").strip():
        errors.append(Invalid("url_invalid", "Enter the address of your WHMCS.", "url"))
        return ""
    try:
        return normalise_url(text or "")
    except Permanent as error:
        errors.append(Invalid(error.code, error.message, "url"))
        return ""


def _secrets(form: InstanceForm, errors: list[Invalid], *, is_needed: bool = False) -> dict[str, str]:
    """Return the secret fields that were given, without spaces and line ends around them."""
    given = {"identifier": form.identifier, "secret": form.secret, "access_key": form.access_key}
    trimmed = {name: (value or "").strip() for name, value in given.items()}
    present = {name: value for name, value in trimmed.items() if value}
    if present or is_needed:
        for name, label in (("identifier", "API identifier"), ("secret", "API secret")):
            if name not in present:
                errors.append(Invalid("credentials_required", f"Enter the {label}.", name))
    for name, value in present.items():
        if len(value) > 1_000 or not value.isprintable():
            text = "It contains characters that no WHMCS credential has. Copy it from WHMCS again."
            errors.append(Invalid(f"{name}_invalid", text, name))
    return present


def _settings(form: InstanceForm, present: InstanceSettings, errors: list[Invalid]) -> InstanceSettings:
    changes: dict[str, Any] = {}
    if form.time_zone is not None:
        zone = form.time_zone.strip() or "UTC"
        # An instance may keep a time zone that is no longer offered.
        if zone not in time_zones() and zone != present.time_zone:
            text = "The time zone must be UTC or that of a place, such as Europe/Lisbon."
            errors.append(Invalid("time_zone_unknown", text, "time_zone"))
        changes["time_zone"] = zone
    if form.requests_per_second is not None:
        changes["requests_per_second"] = _rate(form.requests_per_second.strip(), errors)
    if form.prices_include_tax is not None:
        changes["prices_include_tax"] = form.prices_include_tax
    if form.history_start is not None:
        changes["history_start"] = _first_day(form.history_start.strip(), errors)
    return present.model_copy(update=changes)


def _first_day(text: str, errors: list[Invalid]) -> date | None:
    if not text:
        return None
    try:
        first_day = date.fromisoformat(text)
    except ValueError:
        first_day = date.min
    if first_day.year not in _YEARS:
        wrong = "Write the first day of the history as year, month and day, such as 2024-01-01."
        errors.append(Invalid("history_start_invalid", wrong, "history_start"))
    return first_day


def _rate(text: str, errors: list[Invalid]) -> float | None:
    if not text:
        return None
    try:
        rate = float(text)
    except ValueError:
        rate = 0.0
    if not 0.1 <= rate <= 100:
        wrong = "Requests per second must be a number from 0.1 to 100."
        errors.append(Invalid("requests_per_second_invalid", wrong, "requests_per_second"))
    return rate
