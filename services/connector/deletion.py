"""Decides which facts a run may remove because WHMCS no longer has their rows. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from typing import Any, Final, Literal
from uuid import UUID

from libs.common.contracts.billing import Kind
from libs.common.contracts.sync import HeldDeletions
from services.connector.changes import DETAILS, Fact, tombstone
from services.connector.whmcs import answers, entities
from services.connector.whmcs.answers import Row
from services.connector.whmcs.entities import LISTS, ListAction

_MAX_ROWS, _MAX_PERCENT = 20, 20
_FALLEN_KINDS: Final = 2

Reason = Literal["too_many", "list_empty", "ids_went_down"]


@dataclass(frozen=True, slots=True)
class Census:
    """How the published rows of a kind compare with a whole read of it: `missing` of the `total` rows did not come.

    `is_newest_missing` says that rows with the greatest ids are missing, other than those of a customer who is missing as well. WHMCS
    never uses an id twice, so a restored backup looks like this. `blocks` are the blocks of 10,000 ids with missing rows.
    """

    total: int
    missing: int
    is_newest_missing: bool = False
    blocks: Sequence[int] = ()

    @property
    def is_empty(self) -> bool:
        """Return whether the list had rows and has none any more."""
        return self.total > 0 and self.missing == self.total


class Existence(StrEnum):
    """What an answer to a look-up proves about the row."""

    EXISTS = "exists"
    GONE = "gone"
    UNCLEAR = "unclear"


@dataclass(frozen=True, slots=True)
class RowLookUp:
    """How WHMCS is asked for a single row. `rows` is the list with such rows; None if the answer is the row itself."""

    action: str
    id_parameter: str
    rows: ListAction | None


def held_kinds(
    censuses: Mapping[Kind, Census], accepted: Mapping[str, int], before: Mapping[str, HeldDeletions]
) -> dict[Kind, HeldDeletions]:
    """Return the kinds of which no fact may be removed until a person has reviewed the missing rows.

    `accepted` says how many missing rows of a kind a person has reviewed. If more are missing by now, the kind is held again. `before` are
    the kinds that were held until now.
    """
    down = {kind for kind, census in censuses.items() if census.is_newest_missing}
    # A run may read fewer kinds than the one that noticed a restored backup.
    were_down = {kind for kind, deletions in before.items() if deletions.reason == "ids_went_down"}
    fallen = down if len(down) >= _FALLEN_KINDS else down & were_down
    held = {}
    for kind, census in censuses.items():
        reason = _reason_to_hold(census, is_fallen=kind in fallen)
        if reason is not None and census.missing > accepted.get(kind, 0):
            held[kind] = HeldDeletions(count=census.missing, total=census.total, reason=reason)
    return held


def are_reviewed(ids: Sequence[int], before: HeldDeletions | None) -> bool:
    """Return whether a person who accepts the rows held `before` has reviewed these, the first missing rows.

    As many rows may be missing as before, and yet be others. Only the first rows that are held have names, so others are compared up to
    the last of them.
    """
    if before is None or not before.ids:
        return True
    is_cut = before.count > len(before.ids)
    return all(id in before.ids or (is_cut and id > before.ids[-1]) for id in ids)


def _reason_to_hold(census: Census, *, is_fallen: bool) -> Reason | None:
    if census.is_empty:
        return "list_empty"
    if is_fallen:
        return "ids_went_down"
    if census.missing > _MAX_ROWS and census.missing * 100 > census.total * _MAX_PERCENT:
        return "too_many"
    return None


def _look_ups() -> Mapping[Kind, RowLookUp]:
    # GetClientsAddons has no such parameter: its `addonid` selects the addons of one predefined addon. A wrong filter would find
    # nothing, which looks like a deleted row. So addons are missing from two whole reads before they are removed, as other lists are.
    parameters = {Kind.SERVICE: "serviceid", Kind.DOMAIN: "domainid"}
    of_lists = {
        action.kind: RowLookUp(action.action, parameters[action.kind], action)
        for action in LISTS
        if action.kind in parameters
    }
    of_details = {
        look_up.kind: RowLookUp(look_up.action, look_up.id_parameter, None) for look_up in entities.LOOK_UPS
    }
    return of_lists | {kind: of_details[detail] for kind, detail in DETAILS.items()}


# Kinds whose rows can be asked for by id. Rows of other kinds are removed when two whole reads did not contain them.
LOOK_UPS: Final = _look_ups()


def existence(look_up: RowLookUp, id: int, body: Row) -> Existence:
    """Return what a good answer to a look-up proves. Raise WhmcsError when it has no list.

    WHMCS ignores parameters that it does not know, and then sends other rows. Only an empty list with the total 0 proves that the row is
    gone.
    """
    if look_up.rows is None:
        return Existence.EXISTS
    rows = answers.rows(body, look_up.rows.plural, look_up.rows.singular)
    if any(_has_id(row, id) for row in rows):
        return Existence.EXISTS
    return Existence.GONE if not rows and answers.total(body) == 0 else Existence.UNCLEAR


def _has_id(row: Mapping[str, Any], id: int) -> bool:
    return str(row.get("id")).strip() == str(id)


def with_details(tombstones: Iterable[Fact]) -> list[Fact]:
    """Return the tombstones, and behind each of them the tombstone of the details that are read by the same id."""
    facts = []
    for fact in tombstones:
        facts.append(fact)
        if fact.kind in DETAILS:
            facts.append(tombstone(DETAILS[fact.kind], fact.id, fact.seq, fact.observed_at))
    return facts


def shuffled(numbers: Sequence[int], run_id: UUID) -> list[int]:
    """Return the numbers in an order that differs from run to run.

    Rows that exist but never come in their list stay missing. In the order of ids, a run would spend its look-ups on the same rows as the
    run before, and never reach the rows behind them.
    """
    return sorted(numbers, key=lambda number: sha256(f"{run_id}:{number}".encode()).digest())
