"""Figures as CSV for spreadsheets. Pure."""

import csv
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import astuple
from io import StringIO
from typing import Final

from libs.common.figures.answers import Figure
from libs.common.figures.matrix import Matrix

CSV: Final = "text/csv; charset=utf-8"
# Spreadsheets run a text that begins with one of these as a formula.
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")


def figure_table(figure: Figure) -> Iterator[Sequence[object]]:
    """Yield the names of the columns, then a row for each point: its day, its group, the value, and what is known of it.

    The points of an earlier range follow those of the range.
    """
    all_series = [*figure.series, *(figure.compared.series if figure.compared else ())]
    groups = list(dict.fromkeys(name for series in all_series for name in series.group))
    named = list(dict.fromkeys(name for series in all_series for name in series.names))
    yield ["on", *groups, *(f"{name}_name" for name in named), figure.metric, "reason", "complete"]
    for series in all_series:
        of_group = [series.group.get(name) for name in groups] + [series.names.get(name) for name in named]
        for point in series.points:
            yield [point.on, *of_group, point.value, point.reason, point.complete]


def cohort_table(matrix: Matrix) -> Iterator[Sequence[object]]:
    """Yield the names of the columns, then a row for each cell of each cohort."""
    yield [
        *(
            "currency",
            "month",
            "is_earlier",
            "joined",
            "size",
            "mrr",
            "months_after",
            "on",
            "customers",
            "gross_mrr",
            "net_mrr",
        ),
        *("customers_retained", "gross_mrr_retained", "net_mrr_retained", "reason", "complete"),
    ]
    for cohort in matrix.cohorts:
        start = (
            cohort.group["currency"],
            cohort.month,
            cohort.is_earlier,
            cohort.joined,
            cohort.size,
            cohort.mrr,
        )
        for cell in cohort.cells:
            yield [*start, *astuple(cell)]


def csv_text(rows: Iterable[Sequence[object]]) -> str:
    """Return rows as CSV (RFC 4180): nothing for None, true and false in small letters."""
    text = StringIO()
    csv.writer(text).writerows([_cell(value) for value in row] for row in rows)
    return text.getvalue()


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    cell = str(value)
    return f"'{cell}" if cell.startswith(_FORMULA) and not _is_number(cell) else cell


def _is_number(cell: str) -> bool:
    return cell.removeprefix("-").replace(".", "", 1).isdecimal()
