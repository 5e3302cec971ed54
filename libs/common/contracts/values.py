"""The values that messages are made of, with the bounds that bind those who send them and those who read them.

Published schemas only become wider, so these bounds are checked here and do not stand in the schemas.
"""

from datetime import UTC, datetime
from typing import Annotated, Final

from pydantic import AfterValidator, AwareDatetime, Field, WithJsonSchema

_LONGEST_TEXT: Final = 500
_LONGEST_NAME: Final = 100
# Far from the ends of the calendar, where arithmetic with days and time zones fails.
_FIRST_MOMENT: Final = datetime(2000, 1, 1, tzinfo=UTC)
_LAST_MOMENT: Final = datetime(2200, 1, 1, tzinfo=UTC)


def check_count(number: int) -> int:
    """Return a number that PostgreSQL stores as bigint and that is not negative; raise ValueError for any other."""
    if not 0 <= number < 2**63:
        raise ValueError("the number is negative or too large")
    return number


def check_moment(moment: datetime) -> datetime:
    """Return an aware moment between the years 2000 and 2200; raise ValueError for any other."""
    if moment.tzinfo is None:
        raise ValueError("the moment has no offset")
    if not _FIRST_MOMENT <= moment < _LAST_MOMENT:
        raise ValueError("the moment is not between the years 2000 and 2200")
    return moment


def _check_integer(number: int) -> int:
    if not -(2**63) <= number < 2**63:
        raise ValueError("the number is too large")
    return number


def _check_long_text(text: str) -> str:
    if "\0" in text:
        raise ValueError("the text has a character 0")
    return text


def check_text(text: str) -> str:
    """Return a text that PostgreSQL can store and index; raise ValueError for any other."""
    if len(text) > _LONGEST_TEXT:
        raise ValueError(f"the text is longer than {_LONGEST_TEXT} characters")
    return _check_long_text(text)


def is_name(text: str) -> bool:
    """Tell whether a person may give something this name: 1 to 100 printable characters, not counting spaces around it."""
    return 1 <= len(text.strip()) <= _LONGEST_NAME and text.isprintable()


def _check_partition(number: int) -> int:
    if not 0 <= number < 2**31:
        raise ValueError("there is no such partition")
    return number


Count = Annotated[int, AfterValidator(check_count)]
Integer = Annotated[int, AfterValidator(_check_integer)]
LongText = Annotated[str, AfterValidator(_check_long_text)]
Moment = Annotated[AwareDatetime, AfterValidator(check_moment)]
Partition = Annotated[int, AfterValidator(_check_partition)]
# As `check_text`, but checked without a call of Python: facts have many texts.
Text = Annotated[
    str, Field(max_length=_LONGEST_TEXT, pattern=r"^[^\x00]*$"), WithJsonSchema({"type": "string"})
]
