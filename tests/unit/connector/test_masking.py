"""No text that comes from outside shows a part of the credential, however it was escaped."""

import html
import json
from collections.abc import Callable
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from services.connector.whmcs.answers import Call, Response, WhmcsError, read
from services.connector.whmcs.masking import HIDDEN, mask_of

SECRETS = st.text(
    st.characters(min_codepoint=0x20, max_codepoint=0x12F, exclude_characters="\x7f"), min_size=4
)
OTHERS = st.text(st.characters(min_codepoint=0x400, max_codepoint=0x4FF), max_size=5)
ESCAPES: tuple[Callable[[str], str], ...] = (
    str,
    str.lower,
    quote,
    quote_plus,
    lambda text: quote(text, safe=""),
    lambda text: quote(text, safe="").lower(),
    html.escape,
    lambda text: html.escape(text).replace("&#x27;", "&#039;"),
    lambda text: "".join(f"&#{ord(character)};" for character in text),
    lambda text: json.dumps(text)[1:-1],
    lambda text: json.dumps(text)[1:-1].replace("/", r"\/"),
)


@pytest.mark.rule("L8")
@example("000&", html.escape, "", "")
@example("000%", quote, "", "")
@given(SECRETS, st.sampled_from(ESCAPES), OTHERS, OTHERS)
def test_mask_hides_a_secret_in_every_form(
    secret: str, escape: Callable[[str], str], before: str, behind: str
) -> None:
    assert mask_of([secret])(f"{before}{escape(secret)}{behind}") == f"{before}{HIDDEN}{behind}"


@pytest.mark.rule("L8")
def test_mask_hides_all_parts_and_keeps_other_words() -> None:
    mask = mask_of(["identifier-1", "identifier-1-secret", None, "key"])

    assert mask("identifier-1 identifier-1-secret, key") == f"{HIDDEN} {HIDDEN}, key"
    assert mask_of([None, ""])("WHMCS is down") == "WHMCS is down"


@pytest.mark.rule("L8")
@pytest.mark.parametrize(
    "response",
    [
        Response(200, {}, bytearray(b'{"result":"error","message":"no user s3cr3t-0123456789"}')),
        Response(403, {}, bytearray(b"result=error;message=bad s3cr3t-0123456789")),
        Response(
            200, {}, bytearray(b'{"result":"error","message":"' + b"x" * 190 + b" s3cr3t-0123456789" + b'"}')
        ),
        Response(200, {}, bytearray(b'{"result":"error","message":"s3cr3t<b></b>-0123456789"}')),
        Response(302, {"location": "https://other.example/s3cr3t-0123456789/"}, bytearray(b"")),
        Response(302, {"location": "/s3cr3t%2D0123456789/clientarea.php"}, bytearray(b"")),
    ],
)
def test_no_failure_shows_the_secret(response: Response) -> None:
    mask = mask_of(["s3cr3t-0123456789"])

    with pytest.raises(WhmcsError) as caught:
        read(response, Call("GetClients", "https://billing.example.com", mask=mask))

    assert "s3cr3t" not in caught.value.detail + str(caught.value)
    assert "0123456789" not in caught.value.detail
