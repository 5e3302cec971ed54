"""Judge the product's history: `python -m tests.history --seeds 20` prints how far it is from the ideal reader, and that from the truth."""

import argparse
import asyncio
import sys
import tempfile
from contextlib import ExitStack
from datetime import date
from pathlib import Path

from tests.history.comparison import Book, compare, verdict
from tests.history.product import product_spans
from tests.ideal_reader.distance import as_spans, distance
from tests.ideal_reader.reader import history
from tests.ideal_reader.shown import read
from tests.servers import Postgres
from tools.local_stack import postgres as local_postgres
from tools.local_stack.process import running
from tools.whmcs_simulator.company import Company
from tools.whmcs_simulator.history import Span, true_spans
from tools.whmcs_simulator.life import build_company
from tools.whmcs_simulator.profiles import LIVES, PROFILES, Profile

TODAY = date(2026, 3, 1)
_ROW = "{:>8} {:>5} {:>10} {:>10} {:>12} {:>12} {:>12} {:>6}"


def main() -> None:
    options = _options()
    profiles = [PROFILES[options.profile]] if options.profile else LIVES
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True)))
        data = directory / "data"
        local_postgres.prepare(data)
        program = local_postgres.program(data, local_postgres.UNSAFE_AND_FAST)
        stack.enter_context(running(program, directory))
        server = Postgres(local_postgres.directory_of_socket(data))
        books = [
            _judged(server, profile, seed, options)
            for profile in profiles
            for seed in range(options.first, options.first + options.seeds)
        ]
    result = verdict(books)
    _say(f"\nworst month {result.worst_month:.3%}, worst kind {result.worst_kind:.3%}, ")
    _say(f"equal customers {result.equal_customers:.2%}, books unequal today {result.todays_unequal}")
    for kind, share in result.movements.items():
        _say(f"  {kind}: {share:.3%}")
    sys.exit(not result.is_good)


def _judged(server: Postgres, profile: Profile, seed: int, options: argparse.Namespace) -> Book:
    company = build_company(seed, options.customers, 5, TODAY, profile)
    truth, ideal = true_spans(company), as_spans(history(read(company)))
    with server.fresh_database() as database:
        actual = asyncio.run(product_spans(database, company))
    book = compare(company, ideal, actual)
    if seed == options.first:
        _say(
            _ROW.format(
                "profile", "seed", "month", "kind", "customers", "reader-truth", "product-truth", "today"
            )
        )
    _say(
        _ROW.format(
            profile.name,
            seed,
            f"{max(book.months.values()):.3%}",
            f"{max(book.kinds.values()):.3%}",
            f"{book.equal_customers / book.customers:.2%}",
            _from_truth(company, truth, ideal),
            _from_truth(company, truth, actual),
            "equal" if book.today_is_equal else "UNEQUAL",
        )
    )
    for example in book.examples[: options.examples]:
        _say(f"    {example}")
    return book


def _from_truth(company: Company, truth: list[Span], spans: list[Span]) -> str:
    apart = distance(company, truth, spans)
    return f"{apart.of_totals / apart.truth:.2%}"


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m tests.history", description=__doc__)
    parser.add_argument("--seeds", type=int, default=20, help="how many lives of each profile")
    parser.add_argument("--first", type=int, default=1, help="the first seed")
    parser.add_argument("--customers", type=int, default=250)
    parser.add_argument("--profile", choices=[profile.name for profile in LIVES])
    parser.add_argument("--examples", type=int, default=2, help="how many differences to show of each life")
    return parser.parse_args()


if __name__ == "__main__":
    main()
