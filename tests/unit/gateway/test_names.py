"""The one rule for names that people give."""

import pytest

from services.gateway.errors import Invalid
from services.gateway.names import read_name


@pytest.mark.parametrize("text", ["a", " Nimbus ", "Nimbus\t\r\n", "租云", "x" * 100])
def test_printable_name_is_accepted_without_outer_spaces(text: str) -> None:
    errors: list[Invalid] = []

    assert read_name(text, errors) == text.strip()
    assert errors == []


@pytest.mark.parametrize("text", ["", "   ", "a\nb", "a\u200bb", "x" * 101])
def test_other_name_is_refused_by_its_field(text: str) -> None:
    errors: list[Invalid] = []

    read_name(text, errors, "organization")

    assert [(error.code, error.field) for error in errors] == [("organization_invalid", "organization")]
