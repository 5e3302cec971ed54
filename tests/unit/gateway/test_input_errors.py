"""What is wrong with an input, in our own sentences."""

from datetime import date
from enum import StrEnum
from typing import Annotated, Any, Literal
from uuid import UUID

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from services.gateway.input_errors import invalid_input, malformed_json


class Color(StrEnum):
    RED = "red"
    BLUE = "blue"


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: Annotated[str, Field(max_length=5)] = ""
    days: int = Field(1, ge=1, le=1_000)
    rate: float | None = None
    on: date | None = None
    id: UUID | None = None
    color: Color = Color.RED
    mode: Literal["fast", "slow"] = "fast"
    tags: list[str] = Field(default_factory=list, max_length=2)


def complaint(**fields: Any) -> tuple[str, str | None]:
    """What the first wrong field is answered with."""
    with pytest.raises(ValidationError) as refused:
        Body(**fields)
    first, *_ = refused.value.errors()
    error = invalid_input({**first, "loc": ("body", *first["loc"])}, [], Body)
    assert error.code == "input_invalid"
    return error.message, error.field


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("name", "abcdef", "name must be text of at most 5 characters."),
        ("days", 0, "days must be a whole number from 1 to 1,000."),
        ("rate", "fast", "rate must be a number."),
        ("on", "soon", "on must be a date such as 2026-11-29."),
        ("id", "x", "id must be an id such as 1b4e28ba-2fa1-41d2-883f-0016d3cca427."),
        ("color", "green", "color must be red or blue."),
        ("mode", "slower", "mode must be fast or slow."),
        ("tags", ["a", "b", "c"], "tags may hold at most 2 values."),
        ("tags", "a", "tags must be a list, each value text."),
    ],
)
def test_wrong_field_is_named_with_its_choice(field: str, value: object, sentence: str) -> None:
    assert complaint(**{field: value}) == (sentence, field)


def test_unknown_field_is_answered_with_the_known_ones() -> None:
    text, field = complaint(colour="red")

    assert text == "There is no field colour. Choose one of name, days, rate, on, id, color, mode, tags."
    assert field == "colour"


def test_missing_body_is_asked_for() -> None:
    error = invalid_input({"type": "missing", "loc": ("body",)}, [], Body)

    assert (error.message, error.field) == ("The body is missing. Send a JSON object.", None)


def test_broken_json_is_located() -> None:
    error = malformed_json('{"a": 1,\n "b" 2}', 14)

    assert (error.status, error.message) == (
        400,
        "The body is not valid JSON. Look at line 2, column 6.",
    )
