"""The forms in which an answer can be written."""

from enum import StrEnum
from typing import Any, Final

from services.gateway.exports import CSV


class Form(StrEnum):
    """How an answer is written."""

    JSON = "json"
    CSV = "csv"


TYPES: Final = {Form.JSON: "application/json", Form.CSV: CSV}


def csv_answer(example: str) -> dict[str, Any]:
    """Return the description of an answer that can also be CSV."""
    return {"content": {"text/csv": {"schema": {"type": "string"}, "example": example}}}
