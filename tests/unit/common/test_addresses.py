"""The address of a WHMCS: all forms that people paste are normalised to one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.addresses import normalise_url, origin
from libs.common.errors import Permanent

LABELS = st.from_regex(r"[a-z][a-z0-9]{0,8}", fullmatch=True)
FOLDERS = st.lists(st.sampled_from(["whmcs", "billing", "Kunden"]), max_size=3)


@pytest.mark.rule("N1")
@pytest.mark.parametrize(
    ("pasted", "stored"),
    [
        ("https://billing.example.com", "https://billing.example.com"),
        ("billing.example.com/", "https://billing.example.com"),
        (" https://Billing.Example.COM:443/whmcs/ ", "https://billing.example.com/whmcs"),
        ("https://example.com/whmcs/includes/api.php", "https://example.com/whmcs"),
        ("https://example.com/whmcs/admin/index.php?x=1#y", "https://example.com/whmcs"),
        ("https://example.com:8443/index.php/store", "https://example.com:8443"),
        ("https://müller.example/whmcs", "https://xn--mller-kva.example/whmcs"),
        ("https://[2001:DB8::1]/", "https://[2001:db8::1]"),
        ("<https://example.com/billing/cart.php?a=add&pid=1>", "https://example.com/billing"),
        ("“https://example.com/”", "https://example.com"),
        ("\u200bexample.com/members/index.php?rp=/login", "https://example.com/members"),
        ("https://https://example.com/clients/", "https://example.com/clients"),
        ("http://https://example.com/clients/", "https://example.com/clients"),
        ("https://example.com/whmcs/clientarea.php/details", "https://example.com/whmcs"),
        ("https://example.com/whmcs/includes", "https://example.com/whmcs"),
        ("https://example.com/whmcs/INCLUDES/API.PHP", "https://example.com/whmcs"),
        ("https://example.com/./whmcs//admin/", "https://example.com/whmcs"),
        ("https://example.com/whmcs/login?language=german#top", "https://example.com/whmcs"),
    ],
)
def test_pasted_address_is_stored_in_one_form(pasted: str, stored: str) -> None:
    assert normalise_url(pasted) == stored


@pytest.mark.rule("N1")
@pytest.mark.parametrize(
    ("pasted", "code", "said"),
    [
        ("http://example.com", "url_scheme", "https://"),
        ("ftp://example.com", "url_scheme", "https://"),
        ("", "url_invalid", "characters"),
        ("https://" + "a" * 2050, "url_invalid", "characters"),
        ("https://user:word@example.com", "url_invalid", "password"),
        ("https://exa mple.com", "url_invalid", "spaces"),
        ("https://example.com\x00", "url_invalid", "control"),
        ("https://example.com:99999", "url_invalid", "port"),
        ("https://example.com:0", "url_invalid", "port"),
        ("https:///whmcs", "url_invalid", "host"),
        ("https://example.com/../etc", "url_invalid", "path"),
        ("https://-bad-.example.com", "url_invalid", "host"),
    ],
)
def test_unusable_address_is_refused_and_its_part_named(pasted: str, code: str, said: str) -> None:
    with pytest.raises(Permanent, match=said) as refused:
        normalise_url(pasted)

    assert refused.value.code == code


@given(LABELS, LABELS, st.sampled_from(["", ":443", ":8443"]), FOLDERS)
def test_stored_form_stays_as_it_is(host: str, domain: str, port: str, folders: list[str]) -> None:
    stored = normalise_url(f"https://{host}.{domain}{port}/{'/'.join(folders)}")

    assert normalise_url(stored) == stored
    assert origin(stored) == f"https://{host}.{domain}{port or ':443'}"
