"""The form of the definitions: from fields to values and back, with what is wrong beside its field."""

from uuid import UUID

import pytest

from libs.common.contracts.definitions import Definitions
from services.gateway.definitions import DefinitionsInForce
from services.gateway.errors import Invalid
from services.gateway.overrides import Overrides
from services.gateway.pages.definitions import fields_of, read_entries
from services.gateway.repository.definitions import InstanceOverrides

MAIN = UUID(int=1)
PRESENT = DefinitionsInForce(
    Definitions(service_grace_days=30, domains_count=False),
    [InstanceOverrides(MAIN, "Main", Overrides(domain_grace_days=0), is_redefined=False)],
)


def test_form_gives_back_what_it_shows() -> None:
    entries = read_entries(fields_of(PRESENT), PRESENT)

    assert entries.definitions == PRESENT.definitions
    assert entries.overrides == {MAIN: Overrides(domain_grace_days=0)}


def test_empty_field_of_an_instance_takes_its_own_grace_away() -> None:
    entries = read_entries({**fields_of(PRESENT), f"domain_grace_days.{MAIN}": " "}, PRESENT)

    assert entries.overrides == {MAIN: Overrides()}


@pytest.mark.parametrize("text", ["", "91", "-1", "1.5", "two weeks", "9999999999", "١٤"])
def test_wrong_days_are_named_beside_their_field(text: str) -> None:
    fields = {**fields_of(PRESENT), "addon_grace_days": text, f"service_grace_days.{MAIN}": "x"}

    with pytest.raises(Invalid) as raised:
        read_entries(fields, PRESENT)

    errors = (raised.value, *raised.value.others)
    assert [error.field for error in errors] == ["addon_grace_days", f"service_grace_days.{MAIN}"]


def test_grace_of_an_instance_replaces_that_of_its_organization() -> None:
    effective = Overrides(domain_grace_days=0).over(Definitions(service_grace_days=30))

    assert effective == Definitions(service_grace_days=30, domain_grace_days=0)
