"""Types of the values in messages. Their bounds apply to senders and to readers.

The bounds are checked here and are not part of the published schemas, because a published schema may only become wider.
"""

from datetime import UTC, datetime
from typing import Annotated, Final

from pydantic import AfterValidator, AwareDatetime, Field, WithJsonSchema

_LONGEST_TEXT: Final = 500
_LONGEST_NAME: Final = 100
# Arithmetic with days and time zones fails at the ends of the calendar, so the bounds keep far from them.
_FIRST_MOMENT: Final = datetime(2000, 1, 1, tzinfo=UTC)
_LAST_MOMENT: Final = datetime(2200, 1, 1, tzinfo=UTC)


def check_count(number: int) -> int:
    """Return the number; raise ValueError when it is negative or does not fit into a bigint."""
    if not 0 <= number < 2**63:
        raise ValueError("the number is negative or too large")
    return number


def check_moment(moment: datetime) -> datetime:
    """Return the moment; raise ValueError when it is not aware or not between the years 2000 and 2200."""
    if moment.tzinfo is None:
        raise ValueError("the moment has no offset")
    if not _FIRST_MOMENT <= moment < _LAST_MOMENT:
        raise ValueError("the moment is not between the years 2000 and 2200")
    return moment


def _check_long_text(text: str) -> str:
    if "\0" in text:
        raise ValueError("the text has a character 0")
    return text


def check_text(text: str) -> str:
    """Return the text; raise ValueError when PostgreSQL could not store and index it."""
    if len(text) > _LONGEST_TEXT:
        raise ValueError(f"the text is longer than {_LONGEST_TEXT} characters")
    return _check_long_text(text)


def is_name(text: str) -> bool:
    """Return whether a person may use the text as a name: 1 to 100 printable characters, not counting spaces around it."""
    return 1 <= len(text.strip()) <= _LONGEST_NAME and text.isprintable()


def _check_partition(number: int) -> int:
    if not 0 <= number < 2**31:
        raise ValueError("there is no such partition")
    return number


Count = Annotated[int, AfterValidator(check_count)]
LongText = Annotated[str, AfterValidator(_check_long_text)]
Moment = Annotated[AwareDatetime, AfterValidator(check_moment)]
Partition = Annotated[int, AfterValidator(_check_partition)]
# Rules without a call of Python for each value: facts have many of them.
Integer = Annotated[int, Field(ge=-(2**63), lt=2**63), WithJsonSchema({"type": "integer"})]
Text = Annotated[
    str, Field(max_length=_LONGEST_TEXT, pattern=r"^[^\x00]*$"), WithJsonSchema({"type": "string"})
]
