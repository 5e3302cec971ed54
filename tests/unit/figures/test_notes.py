"""Notes say in words what is missing, since when, and what happens next."""

from datetime import UTC, date, datetime
from uuid import UUID

from libs.common.contracts.lenses import Lens
from libs.common.figures.coverage import Days, Freshness, KindState
from libs.common.figures.notes import Note, notes_on

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
DAYS = Days(date(2026, 2, 1), date(2026, 3, 4), date(2026, 3, 1))


def note_on(state: KindState) -> Note:
    """Return the only note on figures of an instance with this kind."""
    instance = Freshness(UUID(int=1), "Main", "UTC", NOON, DAYS.first_on, DAYS.last_on, {state.kind: state})
    [note] = notes_on([instance], DAYS.first_on, Lens.CONTRACT)
    return note


def not_whole(read_at: datetime | None) -> KindState:
    return KindState(
        "service",
        None if read_at is None else DAYS,
        read_at,
        "GetClientsProducts",
        "not_whole",
        None if read_at is None else NOON.replace(day=4),
        NOON.replace(day=5),
    )


def test_list_that_was_read_in_part_says_since_when() -> None:
    note = note_on(not_whole(NOON))

    assert note.text == (
        "WHMCS's list of services of Main could not be read whole on 2026-03-05 at 12:00 UTC. Since then their last figures are shown. "
        "The next full sync reads it again."
    )
    assert note.mark == "Services of Main as of 4 March 2026"


def test_list_that_was_never_read_whole_says_what_is_missing() -> None:
    note = note_on(not_whole(None))

    assert note.text == (
        "WHMCS's list of services of Main could not be read whole on 2026-03-05 at 12:00 UTC, and never before, "
        "so figures are without them. The next full sync reads it again."
    )
    assert note.mark == "without services of Main"


def test_note_names_the_last_look_at_a_kind() -> None:
    state = KindState(
        "addon",
        DAYS,
        NOON,
        "GetClientsAddons",
        "permission_missing",
        NOON.replace(day=4),
        NOON.replace(day=5),
    )

    assert note_on(state).text.startswith("Addons of Main were last read on 2026-03-04 at 12:00 UTC. Since")


def test_figures_by_former_definitions_say_so() -> None:
    instance = Freshness(UUID(int=1), "Main", "UTC", NOON, DAYS.first_on, DAYS.last_on, {}, is_redefined=True)

    [note] = notes_on([instance], DAYS.first_on, Lens.CONTRACT)

    assert note.text.startswith("Your definitions have changed, and the figures of Main")
    assert note.mark == "by former definitions"


def test_same_whmcs_in_two_instances_is_noted_once() -> None:
    main, other, third = (
        Freshness(UUID(int=number), name, "UTC", NOON, DAYS.first_on, DAYS.last_on, {}, same_as)
        for number, name, same_as in ((1, "Main", (UUID(int=2),)), (2, "Copy", ()), (3, "Shop", ()))
    )

    [note] = notes_on([main, third, other], DAYS.first_on, Lens.CONTRACT)

    assert note.text.startswith("Main and Copy read the same WHMCS, so its customers and subscriptions")
    assert note.mark == "counted twice"
    assert notes_on([main, third], DAYS.first_on, Lens.CONTRACT) == ()
    assert notes_on([other, third], DAYS.first_on, Lens.CONTRACT) == ()
