"""Calls a WHMCS within limits of address, time, size and depth. No other module connects to the internet."""

import asyncio
import errno
import socket
import ssl
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, Final, Self
from urllib.parse import urlsplit

import httpcore
import httpx

from libs.common.telemetry import egress_blocked, whmcs_requests
from libs.common.tls import client_context
from services.connector.credentials import Credentials
from services.connector.settings import Settings
from services.connector.whmcs import answers
from services.connector.whmcs.answers import Row, WhmcsError
from services.connector.whmcs.egress import is_allowed

_PORTS: Final = (443, 8443)
_CONNECT_SECONDS, _READ_SECONDS, _TOTAL_SECONDS = 10.0, 30.0, 60.0
_MAX_BODY: Final = 16 * 1024 * 1024
_MAX_DEPTH: Final = 64
_NESTED: Final = frozenset({dict, list})


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


class _CheckedNetwork(httpcore.AsyncNetworkBackend):
    """Resolves a name, checks every address, and connects to one of them.

    If httpcore resolved the name again after the check, an attacker's DNS could give another address the second time.
    """

    def __init__(self, settings: Settings) -> None:
        self._allow, self._deny = settings.egress_allow_cidrs, settings.egress_deny_cidrs
        self._network = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        try:
            records = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except socket.gaierror as error:
            raise WhmcsError("dns_not_found", "connect", host) from error
        addresses = list(dict.fromkeys(str(record[4][0]) for record in records))
        if not addresses or not all(is_allowed(address, self._allow, self._deny) for address in addresses):
            egress_blocked.add(1)
            raise WhmcsError("address_not_allowed", "connect")
        for address in addresses[:-1]:
            with suppress(httpcore.ConnectError, httpcore.ConnectTimeout):
                return await self._connected(address, port, timeout)
        return await self._connected(addresses[-1], port, timeout)

    async def _connected(self, address: str, port: int, seconds: float | None) -> _PlainStream:
        return _PlainStream(await self._network.connect_tcp(address, port, seconds))

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


def _context(extra_ca: Path | None, minimum: str) -> ssl.SSLContext:
    version = ssl.TLSVersion.TLSv1_2 if minimum == "1.2" else ssl.TLSVersion.TLSv1_3
    return client_context(extra_ca, version)


class Client:
    """Calls one WHMCS with one credential. Use as an async context manager."""

    def __init__(
        self, settings: Settings, credentials: Credentials, *, connect_seconds: float = _CONNECT_SECONDS
    ) -> None:
        self._settings, self._credentials = settings, credentials
        self._connect_seconds = connect_seconds
        self.server_time: datetime | None = None
        self._network = _CheckedNetwork(settings)
        transport = httpx.AsyncHTTPTransport(trust_env=False)
        transport._pool = httpcore.AsyncConnectionPool(
            ssl_context=_context(settings.extra_ca_file, settings.whmcs_tls_min),
            max_connections=10,
            max_keepalive_connections=10,
            keepalive_expiry=30,
            network_backend=self._network,
        )
        self._http = httpx.AsyncClient(
            transport=transport,
            trust_env=False,
            follow_redirects=False,
            timeout=httpx.Timeout(_READ_SECONDS, connect=connect_seconds),
            headers={"user-agent": "MRRlytics", "accept": "application/json"},
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    @property
    def base_url(self) -> str:
        """Return the address of the WHMCS, without /includes/api.php."""
        return self._credentials.base_url

    async def call(
        self, action: str, parameters: Mapping[str, str | int] | None = None, *, base_url: str | None = None
    ) -> Row:
        """Return the body of the answer to one call; raise WhmcsError. `base_url` is another folder of the same origin."""
        url = base_url or self._credentials.base_url
        if (urlsplit(url).port or 443) not in (*_PORTS, *self._settings.whmcs_allowed_ports):
            raise WhmcsError("address_not_allowed", action)
        started = time.monotonic()
        try:
            async with asyncio.timeout(_TOTAL_SECONDS):
                status, headers, content = await self._post(
                    f"{url}/includes/api.php", self._form(action, parameters or {}), action
                )
        except WhmcsError as error:
            error.action = action
            raise
        except (httpx.HTTPError, TimeoutError, OSError, ssl.SSLError) as error:
            raise await self._failure(error, action, url) from None
        finally:
            whmcs_requests.record(time.monotonic() - started, {"action": action})
        with suppress(TypeError, ValueError):
            date = parsedate_to_datetime(headers.get("date", ""))
            self.server_time = date if date.tzinfo is not None else date.replace(tzinfo=UTC)
        body = answers.read(status, headers, content, action)
        if _is_too_deep(body):
            raise WhmcsError("bad_response", action, f"nested deeper than {_MAX_DEPTH}")
        return body

    def _form(self, action: str, parameters: Mapping[str, str | int]) -> dict[str, str | int]:
        credentials = self._credentials
        form = {
            **parameters,
            "action": action,
            "identifier": credentials.identifier,
            "secret": credentials.secret,
            "responsetype": "json",
        }
        if credentials.access_key is not None:
            form["accesskey"] = credentials.access_key
        return form

    async def _post(
        self, url: str, form: Mapping[str, str | int], action: str
    ) -> tuple[int, Mapping[str, str], bytes]:
        content = bytearray()
        async with self._http.stream("POST", url, data=dict(form)) as response:
            async for chunk in response.aiter_bytes():
                content += chunk
                if len(content) > _MAX_BODY:
                    raise WhmcsError(
                        "bad_response", action, f"more than {_MAX_BODY >> 20} MiB", is_about_rows=True
                    )
        return response.status_code, {k.lower(): v for k, v in response.headers.items()}, bytes(content)

    async def _failure(self, error: BaseException, action: str, url: str) -> WhmcsError:
        causes = list(_causes(error))
        for cause in causes:
            if isinstance(cause, ssl.SSLCertVerificationError):
                return WhmcsError("tls_certificate", action, cause.verify_message)
        # A timeout of a good connection also has an SSLError among its causes ("wants to read"), so only connect errors count here.
        if isinstance(error, httpx.ConnectError) and any(isinstance(cause, ssl.SSLError) for cause in causes):
            if await self._speaks_tls_1_2(url):
                return WhmcsError("tls_version", action)
            return WhmcsError("unreachable", action, "the TLS handshake failed")
        if isinstance(error, httpx.ConnectTimeout):
            return WhmcsError("connect_timeout", action, f"{self._connect_seconds:g}")
        if isinstance(error, (httpx.TimeoutException, TimeoutError)):
            seconds = _READ_SECONDS if isinstance(error, httpx.TimeoutException) else _TOTAL_SECONDS
            return WhmcsError("read_timeout", action, f"{seconds:g}", is_about_rows=True)
        refused = any(
            isinstance(cause, ConnectionRefusedError) or getattr(cause, "errno", None) == errno.ECONNREFUSED
            for cause in causes
        )
        if refused:
            return WhmcsError("connect_refused", action)
        if isinstance(error, httpx.DecodingError):
            return WhmcsError("bad_response", action, "its compression is broken", is_about_rows=True)
        return WhmcsError("unreachable", action, type(error).__name__)

    async def _speaks_tls_1_2(self, url: str) -> bool:
        """Return whether a handshake with TLS 1.2 works, which tells an old server from a broken one. No data is sent."""
        parts = urlsplit(url)
        host, context = parts.hostname or "", _context(self._settings.extra_ca_file, "1.2")
        try:
            stream = await self._network.connect_tcp(host, parts.port or 443, timeout=self._connect_seconds)
            stream = await stream.start_tls(context, host, timeout=self._connect_seconds)
            await stream.aclose()
        except (httpcore.NetworkError, httpcore.TimeoutException, WhmcsError, OSError) as error:
            return any(isinstance(cause, ssl.SSLCertVerificationError) for cause in _causes(error))
        return True


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _is_too_deep(body: Row) -> bool:
    level: list[Any] = [body]
    for _ in range(_MAX_DEPTH + 1):
        inner: list[Any] = []
        for value in level:
            children = value.values() if type(value) is dict else value
            if not _NESTED.isdisjoint(map(type, children)):
                inner += [child for child in children if type(child) in _NESTED]
        if not inner:
            return False
        level = inner
    return True


def describe(url: str, settings: Settings) -> dict[str, str]:
    """Return the values that texts of failures need of an address: host, port, url, egress."""
    parts = urlsplit(url)
    return {
        "host": parts.hostname or "",
        "port": str(parts.port or 443),
        "url": url,
        "egress": settings.egress_addresses,
    }
