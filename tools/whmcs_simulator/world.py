"""A company and its folder, which keeps between starts how the company was built and what has happened since."""

import json
import os
from collections.abc import Iterator
from datetime import date
from itertools import islice
from pathlib import Path
from typing import Any

from tools.whmcs_simulator.change import Change, change
from tools.whmcs_simulator.company import Company
from tools.whmcs_simulator.life import advance, build_company, live_step_by_step
from tools.whmcs_simulator.profiles import DEMO, Profile


class World:
    """A company whose days and changes are stored, so that a later start restores it.

    Raise ValueError when the folder holds a company with another seed or size.
    """

    def __init__(
        self, state: Path, *, seed: int, customers: int, years: int, today: date, profile: Profile = DEMO
    ) -> None:
        self._history = state / "history.jsonl"
        asked = {"seed": seed, "customers": customers, "years": years, "profile": profile.name}
        # Folders of before there were profiles name none.
        plan = {"profile": DEMO.name} | _read_or_write(
            state / "company.json", asked | {"today": today.isoformat()}
        )
        if asked.items() - plan.items():
            raise ValueError(
                f"{state} holds another company: {plan}. Start that company, or choose another state folder."
            )
        self.company: Company = build_company(
            seed, customers, years, date.fromisoformat(plan["today"]), profile
        )
        self._day: Iterator[None] = iter(())
        self._replay()
        self.live_until(today)

    def advance(self, days: int) -> None:
        """Let the company live `days` more days. Raise ValueError unless 0 <= days <= 3660."""
        if not 0 <= days <= 3_660:
            raise ValueError(f"`days` lies between 0 and 3660; got {days}")
        self._advance(days)
        self._write({"advance": days})

    def live(self, steps: int) -> None:
        """Live so many steps of a day that is under way, or of the next day. Raise ValueError for less than one step."""
        if steps < 1:
            raise ValueError(f"`steps` is at least 1; got {steps}")
        self._live(steps)
        self._write({"steps": steps})

    def live_until(self, day: date) -> None:
        """Let the company live until that day, unless it is already past it."""
        behind = day.toordinal() - self.company.today
        if behind > 0:
            self.advance(behind)

    def change(self, what: Change) -> dict[str, Any]:
        """Carry out a change as `change.change` does, and store it."""
        done = change(self.company, what)
        self._write({"change": dict(what)})
        return done

    def _advance(self, days: int) -> None:
        """Live the rest of a day that is under way, and `days` days more."""
        for _ in self._day:
            pass
        advance(self.company, days)

    def _live(self, steps: int) -> None:
        left = steps
        while left:
            for _ in islice(self._day, left):
                left -= 1
            if left:
                self._day = live_step_by_step(self.company)
        self.company.revision += 1

    def _replay(self) -> None:
        if not self._history.exists():
            return
        # A last line without its end was cut off when the process was killed; its change had not been answered.
        whole, _, cut = self._history.read_text().rpartition("\n")
        if cut:
            self._history.write_text(whole + "\n" if whole else "")
        for line in whole.splitlines():
            event = json.loads(line)
            if "advance" in event:
                self._advance(event["advance"])
            elif "steps" in event:
                self._live(event["steps"])
            else:
                change(self.company, event["change"])

    def _write(self, event: dict[str, Any]) -> None:
        with self._history.open("a") as history:
            history.write(json.dumps(event) + "\n")


def _read_or_write(file: Path, new: dict[str, Any]) -> dict[str, Any]:
    if not file.exists():
        draft = file.with_suffix(".draft")
        draft.write_text(json.dumps(new))
        os.replace(draft, file)
    plan: dict[str, Any] = json.loads(file.read_text())
    return plan
