"""The facts of a sync: what the API of a simulated WHMCS shows today and did not show before, as the connector publishes it."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, time
from typing import Any

from libs.common.contracts.billing import Kind
from libs.common.contracts.envelope import Record
from libs.common.contracts.instances import InstanceSettings
from services.connector.whmcs.entities import ACTIONS, CUSTOMER_DETAILS, INVOICE_LINES, LISTS
from services.connector.whmcs.translate import translate_row
from tests.builders import FIRST_SEEN, fact
from tools.whmcs_simulator.answers import Answers
from tools.whmcs_simulator.company import Company

Bodies = dict[tuple[Kind, int], dict[str, Any]]
"""The bodies of all rows that WHMCS has, by kind and id."""

_LOOK_UPS = ((CUSTOMER_DETAILS, Kind.CUSTOMER), (INVOICE_LINES, Kind.INVOICE))


def bodies_of(company: Company) -> Bodies:
    return {(kind, body["id"]): body for kind, body in _bodies(Answers(company))}


def facts_of(company: Company, before: Bodies, after: Bodies, *, epoch: int) -> list[Record]:
    """Return the facts of a sync at noon of the company's today: what is new, what changed, and a tombstone for what is gone."""
    values = {"epoch": epoch, "day": (noon(company) - FIRST_SEEN).days}
    changed = [key for key, body in after.items() if before.get(key) != body]
    vanished = [key for key in before if key not in after]
    return [
        fact(kind, after.get((kind, id_), id_), seq=seq, **values)
        for seq, (kind, id_) in enumerate([*changed, *vanished])
    ]


def first_sync(company: Company) -> list[Record]:
    """Return all facts of a company."""
    return facts_of(company, {}, bodies_of(company), epoch=1)


def noon(company: Company) -> datetime:
    """Return noon of the company's today, at which its facts are observed."""
    return datetime.combine(date.fromordinal(company.today), time(12), UTC)


def _bodies(answers: Answers) -> Iterator[tuple[Kind, dict[str, Any]]]:
    ids: dict[Kind, list[int]] = {}
    for action in LISTS:
        body = answers.answer({"action": action.action, "limitnum": "10000000", **action.parameters})
        rows = (body.get(action.plural) or {}).get(action.singular, [])
        ids[action.kind] = [int(row[action.id_field]) for row in rows]
        for row in rows:
            yield action.kind, _translated(action.kind, row)
    for look_up, of in _LOOK_UPS:
        for id_ in ids[of]:
            answer = answers.answer({"action": look_up.action, look_up.id_parameter: str(id_)})
            yield look_up.kind, _translated(look_up.kind, look_up.row(answer))


def _translated(kind: Kind, row: dict[str, Any]) -> dict[str, Any]:
    return translate_row(ACTIONS[kind], row, InstanceSettings()).content
