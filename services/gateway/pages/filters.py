"""What the figures of a page are about: read once from the address, with the choices and their words."""

from dataclasses import dataclass
from typing import Annotated, Final
from uuid import UUID

from fastapi import Depends

from libs.common.contracts.lenses import Lens
from services.gateway.errors import Invalid, NotFound

COUNTING: Final = {
    Lens.CONTRACT: "paid, or up to 14 days overdue",
    Lens.ACTIVE: "active in WHMCS",
    Lens.STATUS: "active or suspended in WHMCS",
}


@dataclass(frozen=True, slots=True)
class Filters:
    """Which subscriptions count, and of which instance; None for all of them."""

    counting: Lens = Lens.CONTRACT
    instance_id: UUID | None = None


def filters_of(lens: str = Lens.CONTRACT, instance: str = "") -> Filters:
    """Return the filters of an address. Raise Invalid or NotFound for a choice that does not exist."""
    return Filters(_counting(lens), _instance_id(instance))


AddressFilters = Annotated[Filters, Depends(filters_of)]


def instance_not_found() -> NotFound:
    """Return the error about an instance that cannot be chosen."""
    return NotFound("instance_not_found", "There is no such instance here. Choose one from the list.")


def _counting(text: str) -> Lens:
    try:
        return Lens(text)
    except ValueError as error:
        raise Invalid("lens_unknown", "The lens is one of contract, active and status.", "lens") from error


def _instance_id(text: str) -> UUID | None:
    try:
        return UUID(text) if text else None
    except ValueError as error:
        raise instance_not_found() from error
