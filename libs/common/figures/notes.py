"""Writes notes for the readers of figures: what is missing, since when, and what to do. Pure."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from itertools import combinations
from typing import Final
from uuid import UUID

from libs.common.calendar import day_of
from libs.common.contracts.billing import SUBSCRIPTION_KINDS, Kind
from libs.common.contracts.failures import text_of_skipped
from libs.common.contracts.lenses import Lens
from libs.common.figures.coverage import SUPPORTS, Freshness, KindState
from libs.common.figures.rates import Conversion, Unconverted

_NOT_WHOLE: Final = "not_whole"
_READ_AGAIN: Final = "The next full sync reads it again."


@dataclass(frozen=True, slots=True)
class Note:
    """A text about figures, with what to do next. `mark` is its short form beside figures of `kinds`.

    `is_history`: the note is about past days, not about today's figures.
    """

    text: str
    kinds: tuple[Kind, ...] = ()
    mark: str | None = None
    is_history: bool = False


def notes_on(instances: Sequence[Freshness], start: date, lens: Lens) -> tuple[Note, ...]:
    """Return the notes on figures from `start` on."""
    return (
        *_never_synced(instances),
        *_redefined(instances),
        *_counted_twice(instances),
        *_history(instances, start),
        *(_unpaid(instances) if lens is Lens.PAID else ()),
        *(note for instance in instances for note in _unreadable(instance, lens)),
    )


def conversion_notes(
    instances: Sequence[Freshness], conversion: Conversion, unconverted: Iterable[Unconverted]
) -> tuple[Note, ...]:
    """Return the notes on amounts that a conversion leaves out, and on those that it converts by the rates of another instance."""
    names = {instance.instance_id: instance.name for instance in instances}
    return (*_left_out(names, conversion, unconverted), *_by_other_rates(names, conversion))


def _left_out(
    names: Mapping[UUID, str], conversion: Conversion, unconverted: Iterable[Unconverted]
) -> Iterator[Note]:
    for row in unconverted:
        are = "subscription is" if row.subscriptions == 1 else "subscriptions are"
        yield Note(
            f"{row.subscriptions:,} {are} left out: {names[row.instance_id]} bills in {row.currency}, and no rate from {row.currency} to "
            f"{conversion.currency} is known. Add the currencies with their rates in WHMCS, or use the original currencies."
        )


def _by_other_rates(names: Mapping[UUID, str], conversion: Conversion) -> Iterator[Note]:
    for (instance_id, code), pair in conversion.pairs.items():
        if instance_id in names and pair.by not in (None, instance_id):
            yield Note(
                f"Amounts of {names[instance_id]} in {code} are converted by the rates of {names.get(pair.by, 'another instance')}."
            )


def _never_synced(instances: Iterable[Freshness]) -> Iterator[Note]:
    for instance in instances:
        if instance.as_of is None:
            yield Note(f"{instance.name} has not been synced yet. Its figures are missing here.")


def _redefined(instances: Iterable[Freshness]) -> Iterator[Note]:
    """Yield a note for each instance whose figures are being computed by other definitions."""
    for instance in instances:
        if instance.is_redefined:
            text = (
                f"Your definitions have changed, and the figures of {instance.name} are being computed again. "
                "Until then they follow the former definitions. This takes some minutes, and nothing is left to do."
            )
            yield Note(text, SUBSCRIPTION_KINDS, "by former definitions")


def _unpaid(instances: Iterable[Freshness]) -> Iterator[Note]:
    """Yield a note for each instance of which it is not known yet what is paid."""
    for instance in instances:
        if instance.as_of is not None and not instance.has_paid:
            text = (
                f"Not all invoices of {instance.name} are read yet, so its paid MRR is missing here. "
                "It appears by itself: the page of the instance says how many are read."
            )
            yield Note(text, SUBSCRIPTION_KINDS, "invoices are being read")


def _counted_twice(instances: Sequence[Freshness]) -> Iterator[Note]:
    """Yield a note for each pair of instances that read the same WHMCS, whichever of the two has noticed it."""
    for instance, other in combinations(instances, 2):
        if other.instance_id in instance.same_as or instance.instance_id in other.same_as:
            text = (
                f"{instance.name} and {other.name} read the same WHMCS, so its customers and subscriptions are counted twice here. "
                "Delete one of the two instances, or look at one of them alone."
            )
            yield Note(text, SUBSCRIPTION_KINDS, "counted twice")


def _history(instances: Sequence[Freshness], start: date) -> Iterator[Note]:
    """Yield notes on unknown days from `start` on: before the first sync, and before the first reading of an instance or kind."""
    first = min((instance.first_on for instance in instances if instance.first_on is not None), default=None)
    if first is not None and start < first:
        text = f"Figures begin on {first}. Earlier days are not known."
        yield Note(text, is_history=True)
    for instance in instances:
        if instance.first_on is None:
            continue
        if instance.first_on > start and instance.first_on != first:
            text = f"{instance.name} is known from {instance.first_on} on. Figures of earlier days are without it."
            yield Note(text, is_history=True)
        for state in _states(instance, SUBSCRIPTION_KINDS):
            if state.days is not None and state.days.first_on > max(start, instance.first_on):
                text = f"{_plural(instance, state)} are known from {state.days.first_on} on. Figures of earlier days are without them."
                yield Note(text, is_history=True)


def _unreadable(instance: Freshness, lens: Lens) -> Iterator[Note]:
    """Yield a note for each kind that figures need and that the newest run could not read."""
    for kind in SUBSCRIPTION_KINDS:
        for state in _states(instance, [kind]):
            if state.code is not None:
                never, since = "figures are without them", ". Since then their last figures are shown"
                yield _note(instance, state, (kind,), never, since)
    for support in SUPPORTS:
        for state in _states(instance, [support.kind]):
            if lens in support.lenses and state.code is not None:
                since = f". Since then {support.effect}"
                yield _note(instance, state, support.kinds, support.effect, since)


def _note(instance: Freshness, state: KindState, kinds: tuple[Kind, ...], never: str, since: str) -> Note:
    """Return a note on rows that could not be read. `never` and `since` say what follows if they were never or once read."""
    rows, read_at = _plural(instance, state), state.last_at or state.read_at
    if state.code == _NOT_WHOLE:
        text = _not_whole(rows, state, never, since)
    elif read_at is None:
        text = f"{rows} have never been read, so {never}. {text_of_skipped(state.code or '', state.action)}"
    else:
        text = f"{rows} were last read on {_moment(read_at)}{since}. {text_of_skipped(state.code or '', state.action)}"
    if read_at is None:
        return Note(text, kinds, f"without {rows[0].lower()}{rows[1:]}")
    return Note(text, kinds, f"{rows} as of {day_of(read_at, instance.time_zone):%-d %B %Y}")


def _not_whole(rows: str, state: KindState, never: str, since: str) -> str:
    """Return the text for rows of which WHMCS sent only a part."""
    on = f" on {_moment(state.skipped_at)}" if state.skipped_at else ""
    text = f"WHMCS's list of {rows[0].lower()}{rows[1:]} could not be read whole{on}"
    if state.read_at is None:
        return f"{text}, and never before, so {never}. {_READ_AGAIN}"
    return f"{text}{since}. {_READ_AGAIN}"


def _moment(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d at %H:%M} UTC"


def _states(instance: Freshness, kinds: Iterable[Kind]) -> Iterator[KindState]:
    return (instance.kinds[kind] for kind in kinds if kind in instance.kinds)


def _plural(instance: Freshness, state: KindState) -> str:
    return f"{state.kind.replace('_', ' ').capitalize()}s of {instance.name}"
