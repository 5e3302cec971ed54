"""What a person enters for an instance becomes valid values, or errors by field."""

from dataclasses import replace
from datetime import date

import pytest

from libs.common.contracts.instances import InstanceSettings
from services.gateway.instances.forms import Entries, InstanceForm, read_change, read_new

NEW = InstanceForm(
    name=" Main ", url="billing.example.com/", identifier=" identifier-1234\n", secret="the-api-secret"
)
ADDRESS = "https://billing.example.com"


def codes(entries: Entries) -> list[tuple[str, str | None]]:
    return [(error.code, error.field) for error in entries.errors]


def change(form: InstanceForm, settings: InstanceSettings | None = None) -> Entries:
    return read_change(form, "Main", ADDRESS, settings or InstanceSettings())


def test_new_instance_is_read_as_it_will_be_stored() -> None:
    entries = read_new(NEW)

    assert entries.errors == []
    assert (entries.name, entries.address) == ("Main", ADDRESS)
    assert entries.secrets == {"identifier": "identifier-1234", "secret": "the-api-secret"}
    assert entries.settings == InstanceSettings()


def test_empty_form_names_every_missing_field_in_order() -> None:
    assert codes(read_new(InstanceForm())) == [
        ("name_invalid", "name"),
        ("url_invalid", "url"),
        ("credentials_required", "identifier"),
        ("credentials_required", "secret"),
    ]


@pytest.mark.parametrize(
    ("field", "text", "code"),
    [
        ("name", "a\tb", "name_invalid"),
        ("name", "x" * 101, "name_invalid"),
        ("url", "http://billing.example.com", "url_scheme"),
        ("identifier", "with\0zero", "identifier_invalid"),
        ("secret", "s" * 1_001, "secret_invalid"),
        ("access_key", "zero\u200bwidth", "access_key_invalid"),
        ("time_zone", "Atlantis", "time_zone_unknown"),
        ("requests_per_second", "0", "requests_per_second_invalid"),
        ("requests_per_second", "nan", "requests_per_second_invalid"),
        ("requests_per_second", "fast", "requests_per_second_invalid"),
        ("history_start", "01/02/2024", "history_start_invalid"),
        ("history_start", "0001-01-01", "history_start_invalid"),
    ],
)
def test_wrong_field_is_named(field: str, text: str, code: str) -> None:
    entries = read_new(replace(NEW, **{field: text}))

    assert codes(entries) == [(code, field)]


def test_empty_change_keeps_everything() -> None:
    settings = InstanceSettings(time_zone="Europe/Lisbon", requests_per_second=2.0)

    entries = change(InstanceForm(), settings)

    assert entries == Entries("Main", ADDRESS, {}, settings, [])


def test_new_address_needs_credentials() -> None:
    form = InstanceForm(url="https://other.example.com")

    assert codes(change(form)) == [("credentials_required", "identifier")]
    assert codes(change(replace(form, identifier="identifier", secret="secret"))) == []


def test_half_a_pair_of_credentials_is_refused() -> None:
    assert codes(change(InstanceForm(secret="secret"))) == [("credentials_required", "identifier")]


def test_empty_fields_clear_settings() -> None:
    settings = InstanceSettings(
        time_zone="Europe/Lisbon", requests_per_second=2.0, history_start=date(2024, 1, 1)
    )

    entries = change(InstanceForm(time_zone=" ", requests_per_second="", history_start=""), settings)

    assert entries.settings == InstanceSettings()


def test_tax_and_first_day_are_settings() -> None:
    entries = change(InstanceForm(prices_include_tax=True, history_start=" 2024-02-01 "))

    assert entries.settings == InstanceSettings(prices_include_tax=True, history_start=date(2024, 2, 1))


def test_change_of_another_field_keeps_tax_and_first_day() -> None:
    settings = InstanceSettings(prices_include_tax=True, history_start=date(2024, 2, 1))

    assert change(InstanceForm(name="Other"), settings).settings == settings


def test_retired_time_zone_may_stay() -> None:
    entries = change(InstanceForm(time_zone="Old/Zone"), InstanceSettings(time_zone="Old/Zone"))

    assert entries.errors == []
