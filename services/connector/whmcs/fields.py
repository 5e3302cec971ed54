"""Rules for single values of WHMCS rows. Pure.

Every rule takes a value of any JSON type. It returns what we store, or raises ValueError; the text of the error continues a sentence about
the value ("is no number") and never contains the value. A list or an object in place of a text may also raise TypeError.
"""

import hashlib
import html
import re
from collections.abc import Callable
from decimal import Decimal
from typing import Final, TypeVar

from libs.common.contracts.money import parse_micros

UNKNOWN: Final = "unknown"

_TEXT_LIMIT: Final = 500
_STATUS_LIMIT: Final = 60
_CURRENCY_LIMIT: Final = 16
_NUMBER_LIMIT: Final = 64
_CACHED_TEXTS, _CACHED_LENGTH = 8192, 40
_CENTS: Final = re.compile(r"-?[0-9]{1,12}\.[0-9]{2}")
# Up to here every decimal with two places has a float of its own.
_EXACT_CENTS: Final = 1e12
_NUMBER: Final = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?")
# What contracts.billing accepts as the text of a decimal.
_DECIMAL: Final = re.compile(r"-?[0-9]{1,30}(?:\.[0-9]{1,20})?")
# Amounts in a format of WHMCS's currencies. "1,234" is not among them: it may mean 1234 or 1.234.
_WITH_COMMA_GROUPS: Final = re.compile(r"-?[0-9]{1,3}(?:(?:,[0-9]{3})+\.[0-9]+|(?:,[0-9]{3}){2,})")
_WITH_DECIMAL_COMMA: Final = re.compile(r"-?(?:[0-9]{1,3}(?:\.[0-9]{3})+,[0-9]+|[0-9]+,[0-9]{1,2})")
_UNSTORABLE: Final = re.compile("[\0\ud800-\udfff]")
_SPACES: Final = re.compile(r"[\s-]+")
_CYCLES: Final = {
    "freeaccount": "free",
    "free": "free",
    "onetime": "one_time",
    "monthly": "monthly",
    "quarterly": "quarterly",
    "semiannually": "semiannually",
    "annually": "annually",
    "biennially": "biennially",
    "triennially": "triennially",
}
_STATUSES: Final = {"grace_period_(expired)": "grace", "redemption_period_(expired)": "redemption"}
_TRUE: Final = frozenset({"1", "on", "true", "yes"})
# Values that PHP treats as empty, an amount of zero, which becomes 0 where WHMCS casts it to a number, and what some sites write for none.
_NO_ID: Final = frozenset({"", "0", "0.0", "0.00", "-1"})
_Read = TypeVar("_Read")


class _TextCache(dict[object, _Read]):
    """Results by text. Rows repeat the same few texts, and a look-up costs less than reading one again.

    An lru_cache would also keep long texts, and would treat 1, 1.0 and True as the same value.
    """

    def __init__(self, read: Callable[[object], _Read]) -> None:
        super().__init__()
        self._read = read

    def __missing__(self, value: object) -> _Read:
        result = self._read(value)
        if type(value) is str and len(value) <= _CACHED_LENGTH:
            if len(self) >= _CACHED_TEXTS:
                self.clear()
            self[value] = result
        return result


def cached(read: Callable[[object], _Read]) -> Callable[[object], _Read]:
    """Return a rule that remembers its results. It raises TypeError for a list or an object."""
    return _TextCache(read).__getitem__


def row_id(value: object) -> int:
    """Return an id above 0."""
    if type(value) is str:
        digits = value.strip()
        if not (digits.isdigit() and digits.isascii() and len(digits) < _NUMBER_LIMIT):
            raise ValueError("is not the number of a row")
        number = int(digits)
    elif type(value) is int:
        number = value
    elif type(value) is float and value.is_integer():
        number = int(value)
    else:
        raise ValueError("is not the number of a row")
    if not 0 < number < 2**63:
        raise ValueError("is not the number of a row")
    return number


def reference(value: object) -> int | None:
    """Return an id that may be absent. WHMCS writes "", 0 or "0" for none, and some sites -1."""
    if not value or (value in _NO_ID if type(value) is str else value == -1):
        return None
    return row_id(value)


@cached
def micros(value: object) -> int:
    """Return an amount in micros. Separators are accepted if they can mean one amount only: "1,234.56" and "1.234,56"."""
    if type(value) is str and _CENTS.fullmatch(value):
        return int(value.replace(".", "")) * 10_000
    if type(value) is float and abs(value) < _EXACT_CENTS:
        cents = round(value * 100)
        if cents / 100 == value:  # the float stands for a decimal with two places
            return cents * 10_000
    text = _number_text(value)
    if not _NUMBER.fullmatch(text):
        text = _without_separators(text)
    try:
        return parse_micros(text)
    except ValueError:
        raise ValueError("is too large") from None


def _number_text(value: object) -> str:
    """Return the text of a number. It is never cut, because "1e-12" would become "1e-1"."""
    text = str(value).strip()
    if len(text) > _NUMBER_LIMIT:
        raise ValueError(f"is longer than {_NUMBER_LIMIT} characters")
    return text


def _without_separators(text: str) -> str:
    if _WITH_COMMA_GROUPS.fullmatch(text):
        return text.replace(",", "")
    if _WITH_DECIMAL_COMMA.fullmatch(text):
        return text.replace(".", "").replace(",", ".")
    raise ValueError("is no number")


@cached
def micros_or_zero(value: object) -> int:
    """Return an amount in micros; 0 for an empty value."""
    return 0 if value is None or value == "" else micros(value)


@cached
def micros_or_none(value: object) -> int | None:
    """Return an amount in micros; None for an empty value."""
    return None if value is None or value == "" else micros(value)


@cached
def decimal(value: object) -> str:
    """Return a decimal without an exponent; "0" for an empty value."""
    if value is None or value == "":
        return "0"
    text = _number_text(value)
    if not _NUMBER.fullmatch(text):
        raise ValueError("is no number")
    text = f"{Decimal(text):f}"
    if not _DECIMAL.fullmatch(text):
        raise ValueError("has too many digits")
    return text


@cached
def rate(value: object) -> str:
    """Return an exchange rate, which is above 0, as a decimal."""
    text = decimal(value)
    if Decimal(text) <= 0:
        raise ValueError("is not above 0")
    return text


@cached
def whole_number(value: object) -> int:
    """Return a number of things; 0 for an empty value. WHMCS also writes "1.00"."""
    if type(value) is int and 0 <= value < 2**63:
        return value
    number = Decimal(decimal(value))
    if not 0 <= number < 2**63 or number != int(number):
        raise ValueError("is no whole number")
    return int(number)


@cached
def quantity(value: object) -> int:
    """Return a quantity; 1 for an empty value."""
    return whole_number(value) or 1


@cached
def truth(value: object) -> bool:
    """Return whether the value means yes."""
    return str(value).lower() in _TRUE


@cached
def falsehood(value: object) -> bool:
    """Return whether the value does not mean yes."""
    return not truth(value)


def text(value: object) -> str | None:
    """Return a text for people, cut to 500 characters; None for an empty one."""
    return _unescaped(value)[:_TEXT_LIMIT] or None


def text_or_empty(value: object) -> str:
    """Return a text for people, cut to 500 characters; "" for an empty one."""
    return text(value) or ""


def name(value: object) -> str | None:
    """Return a name that identifies or groups something; None for an empty one. A name of 500 characters or more ends with its digest.

    If long names were only cut, two names with the same beginning would be equal, and figures would add up two things as one. A whole
    name is shorter than 500 characters and a shortened name has exactly 500, so they are never equal.
    """
    whole = _unescaped(value)
    if len(whole) < _TEXT_LIMIT:
        return whole or None
    digest = hashlib.sha256(whole.encode()).hexdigest()
    return f"{whole[: _TEXT_LIMIT - len(digest) - 1]}…{digest}"


# For names that many rows share. Most names of domains and invoices are unique, so their results are not worth keeping.
shared_name: Final = cached(name)


@cached
def name_or_empty(value: object) -> str:
    """Return a name; "" for an empty value."""
    return shared_name(value) or ""


def host_name(value: object) -> str | None:
    """Return the name of a domain in lower case; None for an empty value."""
    return name(value.lower() if type(value) is str else value)


def _unescaped(value: object) -> str:
    """Return a text as users typed it: WHMCS stores it escaped, so unescape it once. Leave out what PostgreSQL does not store."""
    if value is None or value == "":
        return ""
    if type(value) is not str:
        if value == [] or value == {}:
            return ""
        if isinstance(value, (list, dict)):
            raise ValueError("is no text")
        value = str(value)
    if "&" in value:
        value = html.unescape(value)
    if not value.isprintable():
        value = _UNSTORABLE.sub("", value)
    return value.strip()


@cached
def status(value: object) -> str:
    """Return a status in lower case with "_" between words; `unknown` for an empty one."""
    if value is None:
        return UNKNOWN
    word = str(value).strip().lower().replace(" ", "_").replace("-", "_")
    if len(word) > _STATUS_LIMIT:
        raise ValueError(f"is longer than {_STATUS_LIMIT} characters")
    if not word.isprintable():
        raise ValueError("contains unprintable characters")
    return _STATUSES.get(word, word) or UNKNOWN


@cached
def pay_type(value: object) -> str:
    """Return how a product is paid: free, one_time or recurring; "" for an empty value."""
    written = name_or_empty(value).lower()
    return "one_time" if written == "onetime" else written


@cached
def cycle(value: object) -> str:
    """Return our name of a billing cycle; `unknown` for one that WHMCS does not document."""
    return _CYCLES.get(_SPACES.sub("", str(value).lower()), UNKNOWN)


@cached
def years_text(value: object) -> str:
    """Return a number of years as it is shown; "0" for an empty value."""
    return name(value) or "0"


@cached
def years(value: object) -> str:
    """Return the cycle of a domain that renews every so many years; `unknown` for 0 and for more than 99. Imported rows may have none."""
    try:
        number = whole_number(value)
    except ValueError:
        return UNKNOWN
    return f"years_{number}" if 1 <= number <= 99 else UNKNOWN


@cached
def currency(value: object) -> str | None:
    """Return a currency code; None for an empty value."""
    code = str(value or "").strip().upper()
    if len(code) > _CURRENCY_LIMIT:
        # Shortened codes could become equal, and amounts of two currencies would be added up.
        raise ValueError(f"is longer than {_CURRENCY_LIMIT} characters")
    if not code.isprintable():
        raise ValueError("contains unprintable characters")
    return code or None


@cached
def currency_code(value: object) -> str:
    """Return a currency code."""
    code = currency(value)
    if code is None:
        raise ValueError("is empty")
    return code


@cached
def currency_of_customer(value: object) -> None:
    """Return None: the id 0 stands for the currency of the customer. Another id names a currency whose code no row tells here."""
    if reference(value) is not None:
        raise ValueError("is a currency whose code is not known")


@cached
def country(value: object) -> str | None:
    """Return the two letters of a country; None for an empty value."""
    code = (shared_name(value) or "").upper()
    if code and not (len(code) == 2 and code.isascii() and code.isalpha()):
        raise ValueError("is no code of a country")
    return code or None
