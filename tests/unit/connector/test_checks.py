"""The API is looked for under the address that was entered."""

from services.connector.checks import candidates


def test_entered_folder_is_tried_before_those_above_it() -> None:
    assert candidates("https://example.com:8443/a/b") == [
        "https://example.com:8443/a/b",
        "https://example.com:8443/a",
        "https://example.com:8443",
    ]
