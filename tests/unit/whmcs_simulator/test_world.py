"""A restart restores the company from its state folder."""

import json
from datetime import date, timedelta
from pathlib import Path

import pytest

from tools.whmcs_simulator.answers import Answers
from tools.whmcs_simulator.change import candidates
from tools.whmcs_simulator.truth import true_figures
from tools.whmcs_simulator.world import World

TODAY = date(2026, 11, 24)
PAGES = ("GetClientsProducts", "GetClientsAddons", "GetClientsDomains", "GetInvoices", "GetClients")


def start(state: Path, today: date = TODAY, customers: int = 60) -> World:
    return World(state, seed=2, customers=customers, years=1, today=today)


def pages(world: World) -> list[object]:
    answers = Answers(world.company)
    return [answers.answer({"action": action, "limitnum": "10000"}) for action in PAGES]


def test_restart_restores_days_and_changes(tmp_path: Path) -> None:
    world = start(tmp_path)
    service = candidates(world.company, "service", {"live": "true"})[0]
    world.advance(10)
    world.change({"kind": "service", "id": service.id, "set": {"recurring": "77.70"}})
    world.change({"kind": "client", "add": {"currency": "GBP"}})
    world.advance(5)

    again = start(tmp_path)

    assert again.company.today == (TODAY + timedelta(days=15)).toordinal()
    assert pages(again) == pages(world)
    assert true_figures(again.company, TODAY, "contract") == true_figures(world.company, TODAY, "contract")


def test_day_in_steps_is_the_day_lived_at_once(tmp_path: Path) -> None:
    for name in ("at-once", "in-steps"):
        (tmp_path / name).mkdir()
    at_once, in_steps = start(tmp_path / "at-once"), start(tmp_path / "in-steps")
    at_once.advance(3)
    while in_steps.company.today < at_once.company.today:
        in_steps.live(2)
    in_steps.advance(0)

    again = start(tmp_path / "in-steps")

    assert pages(in_steps) == pages(at_once) == pages(again)


def test_restart_moves_the_company_only_forward(tmp_path: Path) -> None:
    start(tmp_path)

    later = start(tmp_path, TODAY + timedelta(days=30))
    earlier = start(tmp_path, TODAY)

    assert later.company.today == earlier.company.today == (TODAY + timedelta(days=30)).toordinal()
    assert pages(later) == pages(earlier)


def test_restart_ignores_a_half_written_line(tmp_path: Path) -> None:
    world = start(tmp_path)
    world.advance(3)
    history = tmp_path / "history.jsonl"
    history.write_text(history.read_text() + '{"advan')

    again = start(tmp_path)
    again.advance(1)

    assert again.company.today == world.company.today + 1
    assert [json.loads(line) for line in history.read_text().splitlines()] == [{"advance": 3}, {"advance": 1}]


def test_refused_change_is_not_stored(tmp_path: Path) -> None:
    world = start(tmp_path)

    with pytest.raises(ValueError, match="no service"):
        world.change({"kind": "service", "id": 12345, "delete": True})

    assert not (tmp_path / "history.jsonl").exists()


def test_folder_of_another_company_is_refused(tmp_path: Path) -> None:
    start(tmp_path)

    with pytest.raises(ValueError, match="holds another company"):
        start(tmp_path, customers=61)
