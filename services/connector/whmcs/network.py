"""Opens connections to addresses that egress.py allows, and to no others."""

import asyncio
import socket
import ssl
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, Final

import httpcore

from libs.common.telemetry import egress_blocked
from services.connector.settings import Settings
from services.connector.whmcs.answers import WhmcsError
from services.connector.whmcs.egress import is_allowed

RESOLVE_SECONDS: Final = 5.0
_MAX_LOOK_UPS: Final = 64


class Resolver:
    """Looks up the addresses of names, each name in a thread of its own.

    The threads of asyncio are few and shared by everything, and a name whose servers do not answer keeps its thread for half a minute.
    Here such a name has one thread, however many calls wait for it, and delays no other name.
    """

    def __init__(self, look_up: Callable[[str], list[str]]) -> None:
        self._look_up = look_up
        self._under_way: dict[str, Future[list[str]]] = {}

    async def addresses(self, host: str) -> list[str]:
        """Return the addresses of a name; raise WhmcsError when it has none, or no name server answers within 5 seconds."""
        look_up = self._under_way.get(host) or self._start(host)
        # A look-up that has begun cannot be cancelled, so no caller takes it away from the others.
        answer = asyncio.wrap_future(look_up)
        try:
            return await asyncio.wait_for(answer, RESOLVE_SECONDS)
        except TimeoutError:
            raise WhmcsError("dns_timeout", "connect", host) from None
        except (OSError, UnicodeError) as error:
            is_temporary = isinstance(error, socket.gaierror) and error.errno == socket.EAI_AGAIN
            raise WhmcsError("dns_timeout" if is_temporary else "dns_not_found", "connect", host) from None

    def _start(self, host: str) -> Future[list[str]]:
        if len(self._under_way) >= _MAX_LOOK_UPS:
            raise WhmcsError("dns_timeout", "connect", host)
        answer = self._under_way[host] = Future()
        answer.set_running_or_notify_cancel()
        # A daemon, so that a name that hangs does not delay the end of the process.
        threading.Thread(target=self._work, args=(host, answer), name="resolver", daemon=True).start()
        return answer

    def _work(self, host: str, answer: Future[list[str]]) -> None:
        try:
            addresses = self._look_up(host)
        except (OSError, UnicodeError) as error:
            del self._under_way[host]
            answer.set_exception(error)
        else:
            del self._under_way[host]
            answer.set_result(addresses)


def _system_look_up(host: str) -> list[str]:
    records = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(record[4][0]) for record in records))


# One for the whole process: it counts the look-ups of all runs and checks.
RESOLVER: Final = Resolver(_system_look_up)


class _PlainStream(httpcore.AsyncNetworkStream):
    """A connection before its TLS handshake. httpcore leaves it open when the handshake is cancelled; this closes it."""

    def __init__(self, stream: httpcore.AsyncNetworkStream) -> None:
        self._stream = stream

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109
    ) -> httpcore.AsyncNetworkStream:
        try:
            return await self._stream.start_tls(ssl_context, server_hostname, timeout)
        except asyncio.CancelledError:
            await self._stream.aclose()
            raise

    async def aclose(self) -> None:
        await self._stream.aclose()

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


class CheckedNetwork(httpcore.AsyncNetworkBackend):
    """Resolves a name, checks every address, and connects to one of them.

    If httpcore resolved the name again after the check, an attacker's DNS could give another address the second time.
    """

    def __init__(self, settings: Settings, resolver: Resolver = RESOLVER) -> None:
        self._allow, self._deny = settings.egress_allow_cidrs, settings.egress_deny_cidrs
        self._resolver = resolver
        self._network = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        addresses = await self._resolver.addresses(host)
        if not self._are_allowed(addresses):
            egress_blocked.add(1, {"reason": "address"})
            raise WhmcsError("address_not_allowed", "connect")
        for address in addresses[:-1]:
            with suppress(httpcore.ConnectError, httpcore.ConnectTimeout):
                return await self._connected(address, port, timeout)
        return await self._connected(addresses[-1], port, timeout)

    async def is_open(self, host: str) -> bool:
        """Return whether calls may go to a name or an address; true for a name that cannot be resolved, because it leads nowhere."""
        try:
            return self._are_allowed(await self._resolver.addresses(host))
        except WhmcsError:
            return True

    def _are_allowed(self, addresses: list[str]) -> bool:
        return bool(addresses) and all(is_allowed(text, self._allow, self._deny) for text in addresses)

    async def _connected(self, address: str, port: int, seconds: float | None) -> _PlainStream:
        return _PlainStream(await self._network.connect_tcp(address, port, seconds))

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
