"""Serve a simulated WHMCS: `python -m tools.whmcs_simulator` prints one line of JSON when it is ready."""

import argparse
import asyncio
import contextlib
import gc
import json
import signal
import socket
import ssl
import sys
from collections.abc import Generator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import uvicorn

from tools.whmcs_simulator.access import Access
from tools.whmcs_simulator.answers import Answers
from tools.whmcs_simulator.certificates import CERTIFICATES, prepare_ca, server_context
from tools.whmcs_simulator.control import Control, build_control
from tools.whmcs_simulator.cycles import iso
from tools.whmcs_simulator.drift import DRIFTS
from tools.whmcs_simulator.faults import Faults
from tools.whmcs_simulator.profiles import DEMO, PROFILES
from tools.whmcs_simulator.server import Api
from tools.whmcs_simulator.world import World

LOOPBACK = "127.0.0.1"


def main() -> None:
    options = _options()
    options.state.mkdir(parents=True, exist_ok=True)
    try:
        world = World(
            options.state,
            seed=options.seed,
            customers=options.customers,
            years=options.years,
            today=options.today or _real_today(),
            profile=PROFILES[options.profile],
        )
    except ValueError as error:
        sys.exit(str(error))
    # The company lives as long as the process. Without this, each full garbage collection walks all of it and delays an answer.
    gc.freeze()
    asyncio.run(_serve(world, options))


async def _serve(world: World, options: argparse.Namespace) -> None:
    path, access = options.path.rstrip("/"), Access(options.seed)
    answers = Answers(world.company, options.types)
    api = Api(
        path,
        answers,
        access,
        Faults(options.seed),
        latency_ms=options.latency_ms,
        latency_rows=options.latency_rows,
    )
    tls = server_context(options.state, options.certificate, options.tls_max)
    whmcs_socket, control_socket = _listen(options.port), _listen(options.control_port)

    def info() -> dict[str, Any]:
        return {
            "url": f"https://{LOOPBACK}:{whmcs_socket.getsockname()[1]}{path}",
            "control_url": f"http://{LOOPBACK}:{control_socket.getsockname()[1]}",
            "identifier": access.main.identifier,
            "secret": access.main.secret,
            "access_key": access.access_key,
            "ca_file": str(prepare_ca(options.state).resolve()),
            "today": iso(world.company.today),
        }

    whmcs, control = _Server(_config(api, tls)), _Server(_config(build_control(Control(world, api, info))))
    serving = [
        asyncio.create_task(whmcs.serve(sockets=[whmcs_socket])),
        asyncio.create_task(control.serve(sockets=[control_socket])),
    ]
    following = asyncio.create_task(_follow_real_day(world)) if options.today is None else None
    # Before the line: a caller may stop the process as soon as it has read it.
    stop = _stop_signal()
    await asyncio.gather(whmcs.listens.wait(), control.listens.wait())
    sys.stdout.write(json.dumps(info()) + "\n")
    sys.stdout.flush()
    await stop.wait()
    whmcs.should_exit = control.should_exit = True
    if following is not None:
        following.cancel()
    await asyncio.gather(*serving, return_exceptions=True)


def _stop_signal() -> asyncio.Event:
    """Return an event that SIGTERM or SIGINT sets."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


class _Server(uvicorn.Server):
    """A server that leaves signals alone: the process runs two, and handles signals once for both."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listens = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listens.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


def _config(app: Any, tls: ssl.SSLContext | None = None) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http="h11",
        ws="none",
        lifespan="off",
        log_level="warning",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=1,
        timeout_keep_alive=30,
        ssl_context_factory=(lambda _, __: tls) if tls else None,
    )


def _listen(port: int) -> socket.socket:
    # asyncio disables Nagle's delay only for a socket that says it is TCP; with the delay, small answers take 40 ms.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((LOOPBACK, port))
    except OSError as error:
        sys.exit(
            f"Cannot listen on port {port} of {LOOPBACK}: {error.strerror}. Give another port, or 0 for any free one."
        )
    listener.listen(128)
    return listener


async def _follow_real_day(world: World) -> None:
    while True:
        await asyncio.sleep(30)
        world.live_until(_real_today())


def _real_today() -> date:
    return datetime.now(UTC).date()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m tools.whmcs_simulator", description=__doc__)
    add = parser.add_argument
    add("--seed", type=int, default=1, help="number of the company: equal seeds give equal companies")
    add("--customers", type=int, default=500)
    add("--years", type=int, default=3, help="age of the company")
    add("--profile", choices=PROFILES, default=DEMO.name, help="which WHMCS it uses, and how it lives")
    add(
        "--today",
        type=date.fromisoformat,
        help="the company's today; without it, the company lives with the real day",
    )
    add("--port", type=int, default=0, help="port of the WHMCS end (https); 0 for any free one")
    add(
        "--control-port",
        type=int,
        default=0,
        help="port of the control end (http, loopback); 0 for any free one",
    )
    add("--state", type=Path, required=True, help="folder for the CA and the history of the company")
    add("--path", default="/whmcs", help="path of the WHMCS installation")
    add("--tls-max", choices=("1.2", "1.3"), default="1.3")
    add("--certificate", choices=CERTIFICATES, default="good")
    add("--latency-ms", type=float, default=0, help="delay of every answer")
    add("--latency-rows", type=int, help="a page of more rows than this is delayed in proportion")
    add("--types", choices=DRIFTS, default="varied", help="types of ids in answers")
    return parser.parse_args()


if __name__ == "__main__":
    main()
