"""The parameters of each action, read as PHP reads them: empty counts as absent, and unknown ones are ignored.

These rules were not tried on a live WHMCS. "PHP manual" and "WHMCS developer docs" name the source; "inferred" is a guess.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

Parameters = dict[str, str]


class Refused(Exception):
    """A business error with WHMCS's text; the HTTP status is 200."""


def is_empty(text: str | None) -> bool:
    """Return whether PHP's empty() is true for the text of a form field. "0.00" is not empty."""
    # PHP manual, empty(): "" and "0" are the empty strings.
    return text in (None, "", "0")


def number(text: str | None) -> int:
    """Return the number that PHP reads from a text: the digits at its beginning, else 0."""
    # PHP manual, numeric strings: (int) "12abc" is 12, (int) "0.00" and (int) "abc" are 0.
    digits = re.match(r"\s*[+-]?\d{1,18}", text or "")
    return int(digits[0]) if digits else 0


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of an action.

    A `number` is cast before the test for emptiness, so that "0.00" is empty; `numbers` are separated by commas. `missing` is
    WHMCS's answer when a needed parameter is empty.
    """

    name: str
    reads: Literal["text", "number", "numbers"] = "text"
    missing: str | None = None

    def value(self, text: str | None) -> str | None:
        """Return the text that the action sees; None when the parameter counts as absent."""
        if text is None or is_empty(text):
            return None
        if self.reads == "text":
            return text
        # inferred: WHMCS casts ids and counts to int before it tests them. No source has tried "0.00" on a live system.
        values = [number(part) for part in (text.split(",") if self.reads == "numbers" else [text])]
        return ",".join(str(value) for value in values if value) or None


def _texts(*names: str) -> tuple[Parameter, ...]:
    return tuple(Parameter(name) for name in names)


def _numbers(*names: str) -> tuple[Parameter, ...]:
    return tuple(Parameter(name, "number") for name in names)


# inferred: the documented text of GetConfigurationValue, for other actions whose page names no error for a missing parameter.
_NOT_SET: Final = "Required parameter ”{}” was not set"
_PAGE: Final = _numbers("limitstart", "limitnum")

# Names: WHMCS developer docs, "Request Parameters" on the page of each action.
PARAMETERS: Final[Mapping[str, tuple[Parameter, ...]]] = {
    "getclients": (*_PAGE, *_texts("status", "search", "orderby", "sorting")),
    "getclientgroups": (),
    "getclientsproducts": (*_PAGE, *_numbers("clientid", "serviceid", "pid"), *_texts("domain", "username2")),
    # WHMCS developer docs: no paging; `serviceid` is one id or several.
    "getclientsaddons": (Parameter("serviceid", "numbers"), *_numbers("clientid", "addonid")),
    "getclientsdomains": (*_PAGE, *_numbers("clientid", "domainid"), *_texts("domain")),
    # WHMCS developer docs: no paging; `pid` is one id or several.
    "getproducts": (Parameter("pid", "numbers"), *_numbers("gid"), *_texts("module")),
    "getcancelledpackages": _PAGE,
    "getinvoices": (*_PAGE, *_numbers("userid"), *_texts("status", "orderby", "order")),
    # WHMCS developer docs: no paging parameters, although the answer counts as if it paged.
    "gettransactions": (*_numbers("invoiceid", "clientid"), *_texts("transid")),
    "getorders": (*_PAGE, *_numbers("id", "userid", "requestor_id"), *_texts("status")),
    "getorderstatuses": (),
    "getcurrencies": (),
    "getpromotions": _texts("code"),
    "getpaymentmethods": (),
    # WHMCS developer docs: `clientid` is needed; its error for a missing one is not documented.
    "getcredits": (Parameter("clientid", "number", _NOT_SET.format("clientid")),),
    "getactivitylog": (*_PAGE, *_numbers("clientid"), *_texts("date", "user", "description", "ipaddress")),
    # WHMCS developer docs, GetClientsDetails, "Error Responses": one of both is needed. `stats`: inferred, PHP finds "false" true.
    "getclientsdetails": (*_numbers("clientid"), *_texts("email", "stats")),
    # WHMCS developer docs: `invoiceid` is needed; its error for a missing one is not documented.
    "getinvoice": (Parameter("invoiceid", "number", _NOT_SET.format("invoiceid")),),
    "gettldpricing": _numbers("currencyid", "clientid"),
    "whmcsdetails": (),
    "getstats": _numbers("timeline_days"),
    "getautomationlog": _texts("startdate", "enddate", "namespace"),
    # WHMCS developer docs, GetConfigurationValue, "Error Responses".
    "getconfigurationvalue": (Parameter("setting", "text", _NOT_SET.format("setting")),),
    "getadmindetails": (),
}


def given(action: str, form: Mapping[str, str]) -> dict[str, str]:
    """Return the non-empty parameters that the action has. Raise Refused when a needed one is missing."""
    values: dict[str, str] = {}
    for parameter in PARAMETERS[action]:
        value = parameter.value(form.get(parameter.name))
        if value is not None:
            values[parameter.name] = value
        elif parameter.missing is not None:
            raise Refused(parameter.missing)
    return values
