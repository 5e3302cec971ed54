"""A WHMCS that repeats the credential in every answer gets it into no log, table or topic, and so onto no page."""

import asyncio
import contextlib
import logging
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, quote

import httpx
import orjson
import pytest

from libs.common.contracts import topics
from libs.common.database import raw, transaction
from libs.common.logs import configure_logs
from libs.common.outbox import relay_once
from services.connector import caller
from services.connector.tables import outbox
from tests.integration.connector.conftest import TODAY, World, check_command, facts
from tests.simulator import simulate
from tools.whmcs_simulator.certificates import server_context

ACCESS_KEY: Final = "echo-access-key_0123456789(*)"
DESCRIPTIVE: Final = ("name", "description", "notes", "domain", "firstname", "status", "version", "code")

Answer = tuple[int, dict[str, str], bytes]


@pytest.fixture(scope="module")
def simulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Simulate a company of 12 customers."""
    with simulate(
        tmp_path_factory.mktemp("simulator"), customers=12, years=1, options=["--today", TODAY]
    ) as whmcs:
        yield whmcs.info


def soiled(value: Any, echo: str, *, names: tuple[str, ...] | None) -> Any:
    """Return a good answer with the echo behind its texts: all of them, or those of some fields."""
    if isinstance(value, list):
        return [soiled(item, echo, names=names) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        name: f"{inner} {echo}"
        if isinstance(inner, str) and name != "result" and (names is None or name.endswith(names))
        else soiled(inner, echo, names=names)
        for name, inner in value.items()
    }


def said(message: str, status: int = 200) -> Answer:
    return status, {}, orjson.dumps({"result": "error", "message": message})


def answers_of(good: bytes, echo: str) -> dict[str, Callable[[], Answer]]:
    """Return what the site says to a call, by mode. `good` is WHMCS's own answer."""
    body, path = orjson.loads(good), quote(echo)
    return {
        "names": lambda: (200, {}, orjson.dumps(soiled(body, echo, names=DESCRIPTIVE))),
        "texts": lambda: (200, {}, orjson.dumps(soiled(body, echo, names=None))),
        "keys": lambda: (200, {}, orjson.dumps({**body, echo: echo, "warning": echo})),
        "noise": lambda: (200, {}, echo.encode() + good + echo.encode()),
        "headers": lambda: (200, dict.fromkeys(("server", "set-cookie", "date", "x-echo"), echo), good),
        "error": lambda: said(f"Who is {echo}?"),
        "refusal": lambda: said(f"Invalid Permissions: API action {echo} is not allowed", 403),
        "address": lambda: said(f"Invalid IP {echo}", 403),
        "page": lambda: (200, {}, f"<html>{echo}</html>".encode()),
        "failure": lambda: (500, {"retry-after": echo}, f"<html>{echo}</html>".encode()),
        "challenge": lambda: (403, {"cf-mitigated": echo}, echo.encode()),
        "redirect": lambda: (302, {"location": f"https://other.example/{path}/index.php?{path}"}, b""),
        "host": lambda: (302, {"location": f"https://{echo.split()[0]}.example/"}, b""),
        "compression": lambda: (200, {"content-encoding": f"{'x' * 20}{echo}"}, good),
        "cut": lambda: (200, {}, orjson.dumps(soiled(body, echo, names=None))[:-5]),
        "twice": lambda: (200, {}, good[:-1] + f',"{echo}":1,"{echo}":2}}'.encode()),
        "count": lambda: (200, {}, orjson.dumps({**body, "totalresults": echo})),
    }


class Echo:
    """A site in front of the simulator that repeats the whole credential of each call in its answer."""

    def __init__(self, simulator: dict[str, str]) -> None:
        self._simulator = simulator
        self.mode = "names"
        self.port = 0
        self.calls: dict[str, int] = {}

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with httpx.AsyncClient(
            verify=ssl.create_default_context(cafile=self._simulator["ca_file"])
        ) as whmcs:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                while True:
                    head = await reader.readuntil(b"\r\n\r\n")
                    size = int(head.lower().partition(b"content-length:")[2].split()[0])
                    await self._answer(whmcs, await reader.readexactly(size), writer)
        writer.close()

    async def _answer(self, whmcs: httpx.AsyncClient, form: bytes, writer: asyncio.StreamWriter) -> None:
        given = parse_qs(form.decode())
        echo = " ".join(given[name][0] for name in ("secret", "identifier", "accesskey"))
        good = await whmcs.post(
            f"{self._simulator['url']}/includes/api.php",
            content=form,
            headers={"content-type": "application/x-www-form-urlencoded"},
        )
        status, headers, body = answers_of(good.content, echo)[self.mode]()
        lines = [f"HTTP/1.1 {status} It", f"content-length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        writer.write("\r\n".join([*lines, "", ""]).encode() + body)
        await writer.drain()
        self.calls[self.mode] = self.calls.get(self.mode, 0) + 1


@contextlib.asynccontextmanager
async def echoing(simulator: dict[str, str]) -> AsyncIterator[Echo]:
    echo = Echo(simulator)
    tls = server_context(Path(simulator["ca_file"]).parent, "good", "1.3")
    async with await asyncio.start_server(echo.serve, "127.0.0.1", 0, ssl=tls) as server:
        echo.port = server.sockets[0].getsockname()[1]
        yield echo


async def rows_of_all_tables(world: World) -> str:
    """Return every value of every table, bytes in hexadecimal digits."""
    async with transaction(world.engine) as connection:
        database = await raw(connection)
        names = await database.fetch(
            """SELECT format('%I.%I', schemaname, tablename) AS name FROM pg_tables
               WHERE schemaname = 'connector'"""
        )
        rows = [
            row["line"]
            for table in names
            for row in await database.fetch(f"SELECT to_jsonb(t)::text AS line FROM {table['name']} t")  # noqa: S608
        ]
    return "\n".join(rows)


async def records_of_all_topics(world: World, kafka: str) -> bytes:
    while await relay_once(world.engine, outbox, world.publisher):
        pass
    return b"\n".join(
        b" ".join((record.key or b"", record.value or b"", *(value for _, value in record.headers)))
        for record in await facts(kafka, *topics.TOPICS)
    )


@pytest.mark.rule("C8")
@pytest.mark.rule("L8")
async def test_secret_that_a_whmcs_repeats_is_nowhere(
    world: World, kafka: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(caller, "_BACKOFF_SECONDS", 0.001)
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])
    monkeypatch.setattr(root, "level", root.level)
    configure_logs("connector", "DEBUG")
    async with echoing(world.simulator) as echo:
        url = httpx.URL(world.simulator["url"])
        world.simulator = world.simulator | {"url": str(url.copy_with(port=echo.port))}
        world.settings = world.settings.model_copy(update={"whmcs_allowed_ports": (echo.port,)})
        await world.add_instance(access_key=ACCESS_KEY)
        modes = list(answers_of(b"{}", ""))
        for mode in modes:
            echo.mode = mode
            await world.sync()
            await world.command(check_command())
            await world.until(("InstanceChecked",))

    tables, records = await rows_of_all_tables(world), await records_of_all_topics(world, kafka)
    logs = capsys.readouterr().out
    assert echo.calls.keys() == set(modes)
    assert b"[hidden]".hex() in tables
    assert b"[hidden]" in records
    assert len(logs.splitlines()) > len(modes)
    for secret in (world.simulator["secret"], world.simulator["identifier"], ACCESS_KEY):
        is_in = partial(_holds, secret)
        assert [is_in(tables), is_in(records.decode("utf-8", "replace")), is_in(logs)] == [False] * 3


def _holds(secret: str, text: str) -> bool:
    """Return whether a text contains a secret or 12 characters of it in a row, plain or in hexadecimal digits."""
    parts = {secret[at : at + 12] for at in range(len(secret) - 11)}
    lower = text.lower()
    return any(part.lower() in lower or part.encode().hex() in lower for part in parts)
