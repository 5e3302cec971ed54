"""Read everything that a page of figures shows, as of one moment."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Final, NamedTuple

from libs.common.figures.answers import Figure
from libs.common.figures.catalogue import BY_SLUG
from libs.common.figures.counting import countings
from libs.common.figures.coverage import Freshness, oldest, sources_of
from libs.common.figures.groups import Group
from libs.common.figures.notes import Note, notes_on
from libs.common.figures.periods import Interval
from libs.common.figures.questions import Question
from libs.common.figures.rates import Target
from services.gateway.context import Context
from services.gateway.errors import instance_not_found
from services.gateway.figures import SMALL, figures, freshness
from services.gateway.instances.views import Instance, list_instances
from services.gateway.pages.currency_links import customers_by_currency
from services.gateway.pages.filters import Filters
from services.gateway.principals import Principal
from services.gateway.reporting import get_reporting

# A sync that is applied while the page is read makes it read again; the next one is minutes away.
_ATTEMPTS: Final = 4


class Days(NamedTuple):
    """The days that a page shows, `known_from` the first known day, and `all_known_from` the day on which the last source became known.

    Days before `all_known_from` lack a source, so a figure that rose since may only have become known.
    """

    first_on: date
    last_on: date
    known_from: date
    all_known_from: date

    @property
    def months_from(self) -> date:
        """Return the first day of the period of the first month to show: the first one whose day before is known."""
        day_after = self.known_from + timedelta(days=1)
        return min(max(self.first_on.replace(day=1), day_after), self.last_on)


Questions = Callable[[Days], Mapping[str, Question]]


@dataclass(frozen=True, slots=True)
class Reading:
    """All instances but drafts, the freshness of the chosen ones, and the answer to each question by its name.

    Before the first sync there are no days and no answers. `first_on` is the first known day. `customers` has the number of customers who
    pay in each currency, and `reporting` is the currency into which amounts can be converted, if there is one.
    """

    instances: list[Instance]
    fresh: list[Freshness]
    days: Days | None
    answers: dict[str, Figure]
    first_on: date | None
    notes: tuple[Note, ...]
    customers: Mapping[str, int | None]
    reporting: str | None

    @property
    def counting(self) -> Mapping[str, str]:
        """Return what counts by each lens."""
        return countings(self.fresh)

    @property
    def chosen(self) -> list[Instance]:
        """Return the instances that the figures are about."""
        chosen = {freshness.instance_id for freshness in self.fresh}
        return [instance for instance in self.instances if instance.id in chosen]

    @property
    def is_small(self) -> bool:
        """Return whether rendering the page takes less time than handing it to a worker thread."""
        answers = self.answers.values()
        return sum(len(series.points) for answer in answers for series in answer.series) <= SMALL

    def is_of_one_moment(self) -> bool:
        """Return whether no sync was applied between the statements that read this."""
        listed = [instance.as_of for instance in self.chosen if instance.as_of is not None]
        answered = (answer.as_of for answer in self.answers.values())
        return len({oldest(self.fresh), min(listed, default=None), *answered}) == 1


async def read(context: Context, principal: Principal, filters: Filters, questions: Questions) -> Reading:
    """Return the answers to the questions, which are asked about the days of the chosen period.

    Raise NotFound when the chosen instance is a draft or does not exist.
    """
    reading = await _read(context, principal, filters, questions)
    for _ in range(1, _ATTEMPTS):
        if reading.is_of_one_moment():
            break
        reading = await _read(context, principal, filters, questions)
    return reading


async def _read(context: Context, principal: Principal, filters: Filters, questions: Questions) -> Reading:
    listed = await list_instances(context, principal)
    instances = [instance for instance in listed if instance.state != "draft"]
    if filters.instance_id not in (None, *(instance.id for instance in instances)):
        raise instance_not_found()
    chosen = () if filters.instance_id is None else (filters.instance_id,)
    fresh = await freshness(context, principal, chosen)
    first_on = min((instance.first_on for instance in fresh if instance.first_on), default=None)
    last_on = max((instance.last_on for instance in fresh if instance.last_on), default=None)
    if first_on is None or last_on is None:
        return Reading(instances, fresh, None, {}, None, (), {}, None)
    start = filters.first_day(first_on, last_on)
    first_days = (source.days.first_on for source in sources_of(fresh, filters.counting) if source.days)
    days = Days(start, last_on, first_on, max(first_days, default=last_on))
    asked = questions(days)
    customers, *answers = await figures(
        context,
        principal,
        [_customers(days), *(converted(question, filters.target) for question in asked.values())],
        lens=filters.counting,
        instance_ids=chosen,
    )
    named = dict(zip(asked, map(in_one_currency, answers), strict=True))
    notes = notes_on(fresh, start, filters.counting)
    # A figure with a lens of its own would count what has no rate a second time, with another number.
    of_lens = [answer for answer in answers if answer.lens is filters.counting]
    return Reading(
        instances,
        fresh,
        days,
        named,
        first_on,
        (*notes, *_notes_on_conversion(of_lens, notes)),
        customers_by_currency(customers),
        (await get_reporting(context, principal)).reporting_currency,
    )


def _customers(days: Days) -> Question:
    return Question(BY_SLUG["customers"], days.last_on, days.last_on, Interval.DAY, (Group.CURRENCY,))


def converted(question: Question, target: Target | None) -> Question:
    """Return the question about converted amounts, which are not split by currency; without a target, the question itself."""
    if target is None:
        return question
    groups = tuple(group for group in question.group_by if group is not Group.CURRENCY)
    return replace(question, group_by=groups, target=target)


def in_one_currency(figure: Figure) -> Figure:
    """Return a figure whose series name the currency into which its amounts are converted, as those of a native figure do."""
    if figure.fx is None:
        return figure
    series = [replace(item, group={**item.group, "currency": figure.currency}) for item in figure.series]
    return replace(figure, series=tuple(series))


def _notes_on_conversion(figures: Iterable[Figure], notes: Iterable[Note]) -> list[Note]:
    """Return the notes that only converted figures have."""
    shown = {note.text for note in notes}
    texts = dict.fromkeys(text for figure in figures if figure.fx is not None for text in figure.notes)
    return [Note(text) for text in texts if text not in shown]
