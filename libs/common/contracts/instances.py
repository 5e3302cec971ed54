"""InstanceChanged: what every service may know about an instance. It contains no secrets and no address."""

from datetime import date
from enum import StrEnum
from math import isfinite
from typing import Annotated, Literal, NamedTuple
from uuid import UUID

from pydantic import AfterValidator, Field

from libs.common.contracts.definitions import STANDARD, Definitions, Preview
from libs.common.contracts.message import Message
from libs.common.contracts.values import Count, Text


class InstanceKey(NamedTuple):
    """The key of an instance in every table; the organization comes first because row-level security filters by it."""

    organization_id: UUID
    instance_id: UUID


class InstanceState(StrEnum):
    """The state of an instance. Only the gateway writes it."""

    DRAFT = "draft"
    ACTIVE = "active"
    NEEDS_ATTENTION = "needs_attention"
    PAUSED = "paused"
    DELETING = "deleting"
    DELETED = "deleted"


def _check_rate(rate: float) -> float:
    if not isfinite(rate):
        raise ValueError("the rate is not a finite number")
    return rate


class InstanceSettings(Message):
    """How to read one WHMCS. `requests_per_second` is an upper limit; with None the connector adapts to how WHMCS answers.

    No figure of a day before `history_start` is shown; with None the history begins with the first invoice.
    """

    time_zone: Text = "UTC"
    requests_per_second: Annotated[float, Field(gt=0), AfterValidator(_check_rate)] | None = None
    prices_include_tax: bool = False
    store_names: bool = True
    history_start: date | None = None


class InstanceChanged(Message):
    """The whole present state of an instance. Consumers store the state with the greatest `version`.

    `definitions` are those by which its figures are computed. `preview` has others whose effect somebody wants to see.
    """

    id: UUID
    organization_id: UUID
    name: Text
    credential_id: UUID
    state: Literal["active", "needs_attention", "paused", "deleting", "deleted"]
    settings: InstanceSettings
    version: Count
    definitions: Definitions = STANDARD
    preview: Preview | None = None

    @property
    def key(self) -> InstanceKey:
        """Return the key of the instance."""
        return InstanceKey(self.organization_id, self.id)
