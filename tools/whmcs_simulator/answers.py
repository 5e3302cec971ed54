"""The answer of every read action as a live WHMCS gives it: paging, envelopes and the shapes of empty lists.

Where no official sample shows a detail, a comment names the source: "WHMCS developer docs" and the page, "client code" and the
public repository that does or records it, or "inferred" for a guess.
"""

from collections.abc import Sequence
from typing import Any, Final

from tools.whmcs_simulator.company import Company
from tools.whmcs_simulator.dirt import soil
from tools.whmcs_simulator.drift import Drift, drifted
from tools.whmcs_simulator.lists import LISTS, ListAction
from tools.whmcs_simulator.parameters import PARAMETERS, Parameters, given
from tools.whmcs_simulator.rows.formats import Row
from tools.whmcs_simulator.singles import SINGLES, Answer

DEFAULT_PAGE: Final = 25


class Answers:
    """The answers of one company. `drift` says how types vary, `dirt` which kinds of odd values some rows have."""

    def __init__(self, company: Company, drift: Drift = "varied") -> None:
        self.company = company
        self.drift: Drift = drift
        self.dirt: tuple[str, ...] = ()
        self._selected: dict[tuple[object, ...], Sequence[Any]] = {}
        self._revision = company.revision

    def knows(self, action: str) -> bool:
        return action.lower() in PARAMETERS

    def answer(self, parameters: Parameters) -> Answer:
        """Return the body of a successful call. Raise Refused with WHMCS's text."""
        action = parameters["action"].lower()
        parameters = given(action, parameters)
        list_ = LISTS.get(action)
        if list_:
            return self._list(action, list_, parameters)
        body = SINGLES[action](self.company, parameters)
        if self.dirt:
            self._soil_single(action, body)
        return {"result": "success", **body}

    def _list(self, action: str, list_: ListAction, parameters: Parameters) -> Answer:
        selected = self._select(action, list_, parameters)
        start = max(0, int(parameters.get("limitstart", 0))) if list_.pages else 0
        # WHMCS developer docs: 25 rows unless asked otherwise. inferred: also for 0, negative numbers and texts.
        size = int(parameters.get("limitnum", DEFAULT_PAGE)) if list_.pages else len(selected)
        page = selected[start : start + (size if size > 0 else DEFAULT_PAGE)] if list_.pages else selected
        body: Answer = {"result": "success"}
        for name, absent in list_.echoes:
            body[name] = parameters.get(name, absent)
        counts = {"totalresults": len(selected), "startnumber": start, "numreturned": len(page)}
        for name, count in counts.items():
            if name not in list_.omits:
                is_text = list_.counts == "text" or (list_.counts == "mixed" and name == "totalresults")
                body[name] = str(count) if is_text else count
        if page or list_.empty == "wrapped":
            body[list_.plural] = {list_.singular: [self._row(action, list_, record) for record in page]}
        elif list_.empty != "missing":
            body[list_.plural] = {"text": "", "list": [], "object": {}}[list_.empty]
        return body

    def _row(self, action: str, list_: ListAction, record: Any) -> Row:
        row_id = getattr(record, "id", 0)
        row = drifted(list_.row(self.company, record), row_id, self.drift)
        return soil(action, row, row_id, self.dirt) if self.dirt else row

    def _soil_single(self, action: str, body: Answer) -> None:
        row = body.get("client", body)
        row_id = row.get("id", row.get("invoiceid"))
        if row_id is not None:
            soil(action, row, int(row_id), self.dirt)

    def _select(self, action: str, list_: ListAction, parameters: Parameters) -> Sequence[Any]:
        """Return all rows of a list. They are cached until the company changes, because a scan asks page by page."""
        if self._revision != self.company.revision:
            self._selected.clear()
            self._revision = self.company.revision
        page = ("limitstart", "limitnum")
        key = (action, *sorted(item for item in parameters.items() if item[0] not in page))
        if key not in self._selected:
            if len(self._selected) > 32:
                self._selected.clear()
            self._selected[key] = list_.select(self.company, parameters)
        return self._selected[key]


ACTIONS: Final = frozenset(LISTS) | frozenset(SINGLES)
