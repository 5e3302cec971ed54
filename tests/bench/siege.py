"""Attack a gateway with ten connections that send costly requests without pause: `python -m tests.bench.siege`.

Print, as JSON, how many answers of each status each kind of request got.
"""

import argparse
import asyncio
import contextlib
import itertools
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlencode

import uvloop

# Characters that look like letters: a password check that tries every reading of them takes seconds.
_LOOKALIKES = ("4@8({[<3691!|17|0$5+7%2" * 5)[:72]
_TEN_YEARS = "start=2016-11-30&end=2026-11-28"


@dataclass(frozen=True, slots=True)
class Attack:
    """A kind of request. Requests of strangers may come from any address."""

    name: str
    request: bytes
    is_strangers: bool


def _form(path: str, port: int, **fields: str) -> bytes:
    body = urlencode(fields)
    return (
        f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\norigin: http://127.0.0.1:{port}\r\n"
        f"content-type: application/x-www-form-urlencoded\r\ncontent-length: {len(body)}\r\n\r\n{body}"
    ).encode()


def _question(query: str, port: int, token: str) -> bytes:
    return (
        f"GET /api/v1/metrics/{query} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\nauthorization: Bearer {token}\r\n"
        "accept-encoding: gzip\r\n\r\n"
    ).encode()


def _overview(port: int, session: str) -> bytes:
    return (
        f"GET /o/bench/?lens=status HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\ncookie: mrr_session={session}\r\n"
        "accept-encoding: gzip\r\n\r\n"
    ).encode()


def attacks(port: int, token: str, email: str) -> list[Attack]:
    """Return ten attacks: three on setup, four on figures as a viewer, three on the owner's password.

    The secret of the viewer's token is also that of its session.
    """
    setup = _form("/setup/anything", port, organization="x", email="x@example.com", password=_LOOKALIKES)
    huge = f"mrr?{_TEN_YEARS}&group_by=product,cycle,kind"
    largest = "customers?start=2021-12-01&end=2026-11-28&interval=month&group_by=product"
    guess = _form("/sign-in", port, email=email, password="a wrong password")
    return [
        *[Attack("setup", setup, True)] * 3,
        *[Attack("huge question", _question(huge, port, token), False)] * 2,
        Attack("largest question", _question(largest, port, token), False),
        Attack("overview", _overview(port, token), False),
        *[Attack("sign-in", guess, True)] * 3,
    ]


def _addresses(is_spread: bool) -> Iterator[str]:
    """Yield loopback addresses: always the same, or a random one each time."""
    if not is_spread:
        return itertools.repeat("127.0.0.2")
    return (
        f"127.{random.randint(1, 250)}.{random.randint(0, 250)}.{random.randint(1, 250)}"
        for _ in itertools.count()
    )


async def _send(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, attack: Attack
) -> tuple[int, bool]:
    """Send one request; return its status, and whether the connection stays open."""
    writer.write(attack.request)
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    headers = dict(line.split(b": ", 1) for line in head.split(b"\r\n")[1:-2])
    if b"content-length" in headers:
        await reader.readexactly(int(headers[b"content-length"]))
    else:
        await reader.readuntil(b"0\r\n\r\n")
    return int(head.split(b" ")[1]), headers.get(b"connection") != b"close"


async def _repeat(attack: Attack, port: int, is_spread: bool, until: float, counts: Counter[str]) -> None:
    addresses = _addresses(is_spread and attack.is_strangers)
    while time.monotonic() < until:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", port, local_addr=(next(addresses), 0), limit=2**24
            )
            is_open = True
            while is_open and time.monotonic() < until:
                status, is_open = await _send(reader, writer, attack)
                counts[f"{attack.name} {status}"] += 1
                # An attacker with many addresses uses another one for each request.
                is_open = is_open and not (is_spread and attack.is_strangers)
            writer.close()


async def _main(arguments: argparse.Namespace) -> None:
    counts: Counter[str] = Counter()
    until = time.monotonic() + arguments.seconds
    await asyncio.gather(
        *(
            _repeat(attack, arguments.port, arguments.spread, until, counts)
            for attack in attacks(arguments.port, arguments.token, arguments.email)
        )
    )
    sys.stdout.write(json.dumps(dict(sorted(counts.items()))) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--token", required=True)
    parser.add_argument("--email", required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--spread", action="store_true")
    uvloop.run(_main(parser.parse_args()))
