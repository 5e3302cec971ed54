"""The one rule for names that people give: to an instance, an organization or a token."""

from libs.common.contracts.values import is_name
from services.gateway.errors import Invalid


def read_name(text: str, errors: list[Invalid], field: str = "name") -> str:
    """Return the name without spaces and line ends around it; without 1 to 100 printable characters, add the error of this field."""
    name = text.strip()
    if not is_name(name):
        sentence = "Enter a name with 1 to 100 visible characters."
        errors.append(Invalid(f"{field}_invalid", sentence, field))
    return name
