"""Calls and pages adapt to how a WHMCS answers."""

from services.connector.politeness import Politeness


class Answers:
    """Answers one after another, while the process works for a share of the time."""

    def __init__(self, politeness: Politeness, *, busy: float) -> None:
        self.politeness, self.busy = politeness, busy
        self.now = 1_000.0

    def come(self, count: int, seconds: float) -> None:
        for _ in range(count):
            self.now += seconds
            size = self.politeness.size_of("GetClients")
            self.politeness.answered("GetClients", size, seconds, now=self.now, worked=self.busy * self.now)


def test_limit_grows_while_answers_are_on_time_and_then_halves() -> None:
    politeness = Politeness()
    answers = Answers(politeness, busy=0.1)
    answers.come(300, 0.05)
    assert (politeness.limit, politeness.size_of("GetClients")) == (8, 1_000)

    answers.come(1, 0.5)
    answers.come(1, 0.05)
    assert politeness.limit == 8
    answers.come(16, 0.5)
    assert (politeness.limit, politeness.size_of("GetClients")) == (4, 1_000)


def test_busy_process_makes_no_more_calls_at_once() -> None:
    politeness = Politeness()
    answers = Answers(politeness, busy=0.5)
    answers.come(100, 0.05)
    assert (politeness.limit, politeness.size_of("GetClients")) == (2, 1_000)

    answers.come(4, 0.5)
    assert politeness.limit == 1
    answers.come(30, 0.05)
    assert (politeness.limit, politeness.size_of("GetClients")) == (2, 1_000)


def test_refusals_halve_calls_and_pages_down_to_one() -> None:
    politeness = Politeness()

    politeness.refused("GetClients", is_about_rows=True)
    assert (politeness.limit, politeness.size_of("GetClients")) == (1, 125)

    for _ in range(10):
        politeness.refused("GetClients", is_about_rows=True)
    assert (politeness.limit, politeness.size_of("GetClients")) == (1, 1)


def test_pages_of_other_actions_keep_their_size() -> None:
    politeness = Politeness()

    politeness.refused("GetClients", is_about_rows=True)

    assert (politeness.size_of("GetClients"), politeness.size_of("GetInvoices")) == (125, 250)
