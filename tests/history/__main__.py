"""Judge the product's history: `python -m tests.history --seeds 20` prints how far it is from the ideal reader, and both from the truth."""

import argparse
import asyncio
import sys
import tempfile
from contextlib import ExitStack
from datetime import date
from pathlib import Path

from tests.history.comparison import Book, compare, verdict
from tests.history.product import product_spans
from tests.ideal_reader.distance import added_up, as_spans
from tests.ideal_reader.reader import history
from tests.ideal_reader.shown import read
from tests.servers import Postgres
from tools.local_stack import postgres as local_postgres
from tools.local_stack.process import running
from tools.whmcs_simulator.history import true_spans
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
    _say_causes(books)
    lines = verdict(books).lines
    for line in lines:
        outcome = "holds" if line.holds else "DOES NOT HOLD"
        _say(f"{line.name:>40} {line.share:>8.3%}, at most {line.most:.3%}: {outcome}")
    sys.exit(not all(line.holds for line in lines))


def _judged(server: Postgres, profile: Profile, seed: int, options: argparse.Namespace) -> Book:
    company = build_company(seed, options.customers, 5, TODAY, profile)
    truth, ideal = true_spans(company), as_spans(history(read(company)))
    with server.fresh_database() as database:
        actual = asyncio.run(product_spans(database, company))
    book = compare(company, truth, ideal, actual)
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
            f"{book.reader_from_truth.share:.2%}",
            f"{book.product_from_truth.share:.2%}",
            "equal" if book.today_is_equal else "UNEQUAL",
        )
    )
    for example in book.examples[: options.examples]:
        _say(f"    {example}")
    return book


def _say_causes(books: list[Book]) -> None:
    """Say how far both are from the truth, and why, as shares of the MRR of all months."""
    reader = added_up(book.reader_from_truth for book in books)
    product = added_up(book.product_from_truth for book in books)
    _say(f"\n{'from the truth, of MRR':>40} {'reader':>8} {'product':>8}")
    _say(f"{'totals of months':>40} {reader.share:>8.3%} {product.share:>8.3%}")
    for cause in sorted(reader.causes | product.causes, key=lambda cause: -reader.causes[cause]):
        shares = (apart.causes[cause] / apart.truth for apart in (reader, product))
        _say(f"{cause:>40} " + " ".join(f"{share:>8.3%}" for share in shares))
    _say("")


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
