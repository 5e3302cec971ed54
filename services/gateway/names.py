"""The one rule for names that people give: to an instance, an organization or a token."""

from typing import Final

from services.gateway.errors import Invalid

_LONGEST: Final = 100


def read_name(text: str, errors: list[Invalid], field: str = "name") -> str:
    """Return the name without the spaces around it; without 1 to 100 printable characters, add the error of this field."""
    name = text.strip()
    if not 1 <= len(name) <= _LONGEST or not name.isprintable():
        sentence = f"The name must have 1 to {_LONGEST} printable characters."
        errors.append(Invalid(f"{field}_invalid", sentence, field))
    return name
