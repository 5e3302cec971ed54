"""Faults of a WHMCS: which are in force, and which calls they strike."""

import copy
import random
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from tools.whmcs_simulator.damage import DAMAGED_ANSWERS, DAMAGED_TEXT
from tools.whmcs_simulator.replies import REPLIES

# Failing connections. Values: milliseconds of `latency_ms`, seconds of `hang` (None: for ever), bytes of `drip` each 100 ms.
CONNECTION: Final = frozenset({"latency_ms", "hang", "drip", "reset", "cut"})
# Every page is the first page.
PAGING: Final = "repeated_page"

# The good answer, in the content encodings of the value ("gzip").
COMPRESSED: Final = "compressed"

KINDS: Final = (
    CONNECTION | {PAGING, COMPRESSED} | REPLIES.keys() | DAMAGED_TEXT.keys() | DAMAGED_ANSWERS.keys()
)


@dataclass(slots=True)
class Fault:
    """A fault. It strikes calls of `action` (None: every action) after the first `after` calls, `count` times (None:
    always), each call with `probability`."""

    kind: str
    action: str | None = None
    value: Any = None
    after: int = 0
    count: int | None = None
    probability: float = 1.0

    def number(self, otherwise: float) -> float:
        return otherwise if self.value is None else float(self.value)


@dataclass(slots=True)
class Faults:
    """The faults in force. Only the seed and the calls decide which strike."""

    seed: int
    in_force: list[Fault] = field(default_factory=list)
    dice: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self.dice = random.Random(self.seed)  # noqa: S311 - repeatable on purpose

    def replace(self, faults: Iterable[dict[str, Any]]) -> None:
        """Replace the faults in force. Raise ValueError that says what was wrong."""
        new = []
        for given in faults:
            fields = {name.replace("-", "_") for name in given}
            unknown = fields - set(Fault.__slots__)
            if unknown or "kind" not in given:
                raise ValueError(f"a fault has the fields {', '.join(Fault.__slots__)}; got {sorted(fields)}")
            if given["kind"] not in KINDS:
                raise ValueError(
                    f"no fault is called {given['kind']!r}; there are {', '.join(sorted(KINDS))}"
                )
            new.append(Fault(**given))
            if new[-1].value is not None and new[-1].kind in CONNECTION:
                new[-1].number(0)
        self.in_force = new
        self.dice.seed(self.seed)

    def striking(self, action: str) -> list[Fault]:
        """Return the faults that strike this call, in their order, and count the call."""
        return [fault for fault in self.in_force if self._strikes(fault, action)]

    def _strikes(self, fault: Fault, action: str) -> bool:
        if fault.action and fault.action.lower() != action.lower():
            return False
        if fault.after > 0:
            fault.after -= 1
            return False
        if fault.count == 0 or self.dice.random() >= fault.probability:
            return False
        if fault.count is not None:
            fault.count -= 1
        return True


def damaged(body: dict[str, Any], faults: Iterable[Fault]) -> dict[str, Any]:
    """Return a copy of the answer with the damage of all faults that damage answers."""
    for fault in faults:
        if fault.kind in DAMAGED_ANSWERS:
            body = copy.deepcopy(body)
            DAMAGED_ANSWERS[fault.kind](body, fault.value)
    return body
