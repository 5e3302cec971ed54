"""Hides the parts of a credential in texts that come from outside. Pure.

A WHMCS may repeat what it was sent in an error, a header or an address, escaped in any way.
"""

import re
from collections.abc import Callable, Iterable
from typing import Final

Mask = Callable[[str], str]

HIDDEN: Final = "[hidden]"
# WHMCS's own secrets have 32 characters. To hide a shorter text than this would damage ordinary words.
_SHORTEST: Final = 4
_SHORTEST_IN_ROWS: Final = 16
_ENTITIES: Final = {"&": "amp", "<": "lt", ">": "gt", '"': "quot", "'": "apos"}


def mask_of(secrets: Iterable[str | None]) -> Mask:
    """Return a function that replaces the secrets in a text, also those escaped for an address, HTML or JSON."""
    longest_first = sorted((s for s in secrets if s and len(s) >= _SHORTEST), key=len, reverse=True)
    if not longest_first:
        return str
    pattern = re.compile(
        "|".join("".join(map(_any_form, secret)) for secret in longest_first), re.IGNORECASE | re.DOTALL
    )
    return lambda text: pattern.sub(HIDDEN, text)


def hide_in(content: bytearray, secrets: Iterable[str | None]) -> None:
    """Replace the secrets in an answer, so that no row contains one. Secrets shorter than 16 characters could be ordinary values.

    A site that writes them escaped does so on purpose, and knows them already.
    """
    for secret in secrets:
        if secret and len(secret) >= _SHORTEST_IN_ROWS and (text := secret.encode()) in content:
            content[:] = content.replace(text, HIDDEN.encode())


def _any_form(character: str) -> str:
    """Return a pattern of all ways to write a character."""
    code = ord(character)
    percent = "".join(f"%{byte:02x}" for byte in character.encode("utf-8", "replace"))
    units = character.encode("utf-16-be", "surrogatepass")
    forms = [
        percent,
        f"&#0*{code};",
        f"&#x0*{code:x};",
        "".join(rf"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2)),
    ]
    if name := _ENTITIES.get(character):
        forms.append(f"&{name};")
    if character == " ":
        forms.append(r"\+")
    # The plain character comes last: "%" and "&" also begin their own escaped forms.
    forms.append(rf"\\?{re.escape(character)}")
    return f"(?:{'|'.join(forms)})"
