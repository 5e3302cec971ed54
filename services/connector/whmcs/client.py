"""Calls a WHMCS within limits of address, time, size and depth. No other module connects to the internet."""

import asyncio
import errno
import ssl
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache
from pathlib import Path
from typing import Final, Self
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

import httpcore
import httpx
from opentelemetry.trace import SpanKind

from libs.common.telemetry import requests_sent, timed, tracer, whmcs_requests
from libs.common.tls import client_context
from services.connector.credentials import Credentials
from services.connector.memory import CrowdedError, Hold, Memory
from services.connector.settings import Settings
from services.connector.whmcs import answers
from services.connector.whmcs.answers import Call, Response, WhmcsAnswer, WhmcsError
from services.connector.whmcs.decoding import ACCEPTED, BodyDecoder, UndecodableError
from services.connector.whmcs.masking import hide_in, mask_of
from services.connector.whmcs.network import CheckedNetwork
from services.connector.whmcs.objects import RefusedError, memory_of

_PORTS: Final = (443, 8443)
_CONNECT_SECONDS, _READ_SECONDS, _TOTAL_SECONDS = 10.0, 30.0, 60.0
_LARGE_BYTES: Final = 512 * 1024

# One for the whole process: it counts the answers of all runs and checks.
MEMORY: Final = Memory(192 * 1024 * 1024)
# Reading a large answer takes half a second, so the event loop does not do it.
_READER: Final = ThreadPoolExecutor(1, "reader")
_READER_LOCKS: Final = WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock]()


def _context(extra_ca: Path | None, minimum: str) -> ssl.SSLContext:
    """Return the context of all clients of the process, a new one when the file of authorities has changed."""
    return _loaded_context(extra_ca, minimum, None if extra_ca is None else extra_ca.stat().st_mtime_ns)


# Loading the system's authorities takes 30 ms, and each run and check makes a client.
@lru_cache(maxsize=4)
def _loaded_context(extra_ca: Path | None, minimum: str, _changed_at: int | None) -> ssl.SSLContext:
    version = ssl.TLSVersion.TLSv1_2 if minimum == "1.2" else ssl.TLSVersion.TLSv1_3
    return client_context(extra_ca, version)


class Client:
    """Calls one WHMCS with one credential. Use as an async context manager.

    `base_url` is the address without /includes/api.php; a check sets it to other folders of the same origin until one answers.
    `has_answered`: WHMCS has answered under this address before, as it has in the check before any run. `noisy_answers` counts the
    answers around which the site wrote something.
    """

    def __init__(
        self,
        settings: Settings,
        credentials: Credentials,
        *,
        connect_seconds: float = _CONNECT_SECONDS,
        has_answered: bool = True,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._settings, self._credentials = settings, credentials
        self.base_url = credentials.base_url
        self._connect_seconds = connect_seconds
        self._has_answered = has_answered
        self._secrets = (credentials.secret, credentials.identifier, credentials.access_key)
        self.mask = mask_of(self._secrets)
        self.server_time: datetime | None = None
        self.noisy_answers = 0
        self._owner = object()
        self._network = CheckedNetwork(settings)
        self._http = httpx.AsyncClient(
            transport=transport or self._transport(),
            trust_env=False,
            follow_redirects=False,
            timeout=httpx.Timeout(_READ_SECONDS, connect=connect_seconds),
            headers={"user-agent": "MRRlytics", "accept": "application/json", "accept-encoding": ACCEPTED},
        )

    def _transport(self) -> httpx.AsyncHTTPTransport:
        context = _context(self._settings.extra_ca_file, self._settings.whmcs_tls_min)
        transport = httpx.AsyncHTTPTransport(verify=context, trust_env=False)
        transport._pool = httpcore.AsyncConnectionPool(
            ssl_context=context,
            max_connections=10,
            max_keepalive_connections=10,
            keepalive_expiry=30,
            network_backend=self._network,
        )
        return transport

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    @property
    def has_room(self) -> bool:
        """Return whether there is memory for answers that are not needed yet."""
        return MEMORY.has_room(self._owner)

    async def call(self, action: str, parameters: Mapping[str, str | int] | None = None) -> WhmcsAnswer:
        """Return the answer to one call; raise WhmcsError."""
        started, outcome = time.monotonic(), "ok"
        with tracer.start_as_current_span(f"whmcs.call {action}", kind=SpanKind.CLIENT):
            try:
                return await self._call(action, parameters or {})
            except WhmcsError as error:
                outcome = error.code
                raise
            finally:
                attributes = {"action": action, "outcome": outcome}
                whmcs_requests.record(time.monotonic() - started, attributes)

    async def _call(self, action: str, parameters: Mapping[str, str | int]) -> WhmcsAnswer:
        call = Call(action, self.base_url, self._has_answered, self.mask)
        if not self._is_open_port(urlsplit(call.url).port):
            raise call.error("address_not_allowed")
        with Hold(MEMORY, self._owner) as hold:
            try:
                response = await self._response(call, self._form(action, parameters), hold)
                self.server_time = _date(response.headers) or self.server_time
                answer = await self._read(response, call, hold)
            except (UndecodableError, RefusedError) as error:
                raise call.error("bad_response", str(error), is_about_rows=True) from None
            except CrowdedError:
                text = "its answers take too much memory at once"
                raise call.error("bad_response", text, is_about_rows=True) from None
        self.noisy_answers += answer.has_noise
        return answer

    async def _response(self, call: Call, form: Mapping[str, str | int], hold: Hold) -> Response:
        try:
            with timed(requests_sent, {"http.request.method": "POST"}):
                async with asyncio.timeout(_TOTAL_SECONDS):
                    return await self._post(f"{call.url}/includes/api.php", form, hold)
        except WhmcsError as error:
            error.action = call.action
            raise
        except httpx.InvalidURL:
            # httpx prepares to follow a redirect, although it may not.
            raise call.error("bad_response", "it redirects to no valid address") from None
        except (httpx.HTTPError, TimeoutError, OSError, ssl.SSLError) as error:
            raise await self._failure(error, call) from None

    async def _read(self, response: Response, call: Call, hold: Hold) -> WhmcsAnswer:
        """Return the answer with its memory, and remember whether WHMCS itself gave it."""
        try:
            hide_in(response.content, self._secrets)
            answer = await self._read_content(response, call, hold)
        except WhmcsError as error:
            self._has_answered = self._has_answered or error.is_of_whmcs
            if error.code == "redirected" and not await self._is_open(error.detail):
                raise call.error("redirected_inside", error.detail) from None
            raise
        finally:
            response.content.clear()
        self._has_answered = True
        return replace(answer, hold=hold)

    async def _read_content(self, response: Response, call: Call, hold: Hold) -> WhmcsAnswer:
        # The values of a small answer need no count: the caller turns them into text before anything else runs.
        if len(response.content) < _LARGE_BYTES:
            return answers.read(response, call)
        size = memory_of(response.content)
        # One at a time, so that answers which wait take no memory for their values.
        async with _reader_lock():
            hold.grow(size)
            reading = asyncio.get_running_loop().run_in_executor(_READER, answers.read, response, call)
            try:
                return await asyncio.shield(reading)
            except asyncio.CancelledError:
                # The thread goes on with the content, which must stay until then.
                await asyncio.wait([reading])
                raise

    async def _is_open(self, url: str) -> bool:
        """Return whether calls may go to an address, as far as its name can be resolved."""
        try:
            parts = urlsplit(url)
        except ValueError:  # its host is a part of the credential, and hidden
            return True
        return self._is_open_port(parts.port) and await self._network.is_open(parts.hostname or "")

    def _is_open_port(self, port: int | None) -> bool:
        return (port or 443) in (*_PORTS, *self._settings.whmcs_allowed_ports)

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

    async def _post(self, url: str, form: Mapping[str, str | int], hold: Hold) -> Response:
        content = bytearray()
        async with self._http.stream("POST", url, data=dict(form)) as response:
            headers = {name.lower(): value for name, value in response.headers.items()}
            decoder = BodyDecoder(headers.get("content-encoding", ""))
            # Not aiter_bytes(): httpx decodes a whole chunk at once, which a compressed bomb makes gigabytes of.
            try:
                async for chunk in response.aiter_raw():
                    for piece in decoder.feed(chunk):
                        hold.grow(len(piece))
                        content += piece
                    # Thousands of tiny chunks may arrive at once, and must not hold up everything else.
                    await asyncio.sleep(0)
            except BaseException:
                content.clear()  # the error keeps this frame, and must not keep megabytes with it
                raise
        return Response(response.status_code, headers, content)

    async def _failure(self, error: BaseException, call: Call) -> WhmcsError:
        causes = list(_causes(error))
        for cause in causes:
            if isinstance(cause, ssl.SSLCertVerificationError):
                return call.error("tls_certificate", cause.verify_message)
        # A timeout of a good connection also has an SSLError among its causes ("wants to read"), so only connect errors count here.
        if isinstance(error, httpx.ConnectError) and any(isinstance(cause, ssl.SSLError) for cause in causes):
            if await self._speaks_tls_1_2(call.url):
                return call.error("tls_version")
            return call.error("unreachable", "the TLS handshake failed")
        if isinstance(error, httpx.ConnectTimeout):
            return call.error("connect_timeout", f"{self._connect_seconds:g}")
        if isinstance(error, (httpx.TimeoutException, TimeoutError)):
            seconds = _READ_SECONDS if isinstance(error, httpx.TimeoutException) else _TOTAL_SECONDS
            return call.error("read_timeout", f"{seconds:g}", is_about_rows=True)
        refused = any(
            isinstance(cause, ConnectionRefusedError) or getattr(cause, "errno", None) == errno.ECONNREFUSED
            for cause in causes
        )
        if refused:
            return call.error("connect_refused")
        if isinstance(error, (httpx.ReadError, httpx.RemoteProtocolError)):
            return call.error("bad_response", "the connection broke off", is_about_rows=True)
        return call.error("unreachable", type(error).__name__)

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


def _reader_lock() -> asyncio.Lock:
    """Return the lock on the reader, which serves in the order of arrival. A lock belongs to one event loop, and tests have many."""
    return _READER_LOCKS.setdefault(asyncio.get_running_loop(), asyncio.Lock())


def _date(headers: Mapping[str, str]) -> datetime | None:
    """Return the time of the server by its Date header; None when that is no date."""
    try:
        date = parsedate_to_datetime(headers.get("date", ""))
        return date if date.tzinfo is not None else date.replace(tzinfo=UTC)
    except (TypeError, ValueError, OverflowError):
        return None


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def describe(url: str, settings: Settings) -> dict[str, str]:
    """Return the values that texts of failures need of an address: host, port, url, egress."""
    parts = urlsplit(url)
    return {
        "host": parts.hostname or "",
        "port": str(parts.port or 443),
        "url": url,
        "egress": settings.egress_addresses,
    }
