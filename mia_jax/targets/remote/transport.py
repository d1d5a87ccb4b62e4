"""One request to a service: counted, with a deadline, a limit on its reply, and statuses told apart.

Over httpcore, on which httpx stands: there a connection may be given a clock, so that a service that sends a byte a
second ends with the deadline; and whatever a service sends is unpacked here, piece by piece, up to a limit.
"""

import contextlib
import math
import ssl
import threading
import time
import urllib.parse
import urllib.request
import weakref
import zlib
from collections.abc import Callable, Mapping
from typing import Any, TypedDict

import httpcore
import httpx

from mia_jax import sanitize
from mia_jax.targets.black_box import Budget, TargetError
from mia_jax.targets.remote import credentials, errors, pace, urls
from mia_jax.targets.remote.options import Options
from mia_jax.types import InputError

ERROR_BYTES = 16 * 2**10  # of an error's body: a line of it is shown
_NEVER_SENT = (
    httpcore.ConnectError,
    httpcore.ConnectTimeout,
    httpcore.PoolTimeout,
    httpcore.ProxyError,
    httpcore.UnsupportedProtocol,
)
_CLOSED = (httpcore.RemoteProtocolError, httpcore.ReadError)
_BROKEN = (httpcore.NetworkError, httpcore.ProtocolError, httpcore.ProxyError, httpcore.UnsupportedProtocol)


class Transport:
    """What the threads of a question share: connections, pace, budget, and what must never be shown.

    Args:
        url: that questions are posted to.
        headers: further ones, with the credentials.
        budget: every record of a request is counted before the request is sent, and uncounted only where none could be:
            no connection could be had.
        notify: gets a line where something is waited for.
    """

    def __init__(
        self, url: str, headers: Mapping[str, str], budget: Budget, options: Options, notify: Callable[[str], None]
    ):
        self.url, self.shown, self.options, self._budget, self._notify = url, urls.public(url), options, budget, notify
        self._secrets = credentials.secrets(headers, url)
        try:
            self._place = self._parsed(url)
            self._place.host.decode("ascii").encode("idna")  # as the look-up of a name does
        except (httpx.InvalidURL, UnicodeError):
            raise InputError(
                f"{sanitize.line(self.shown)} is no URL that can be asked: check its host and path"
            ) from None
        self._headers = {"user-agent": "mia-jax", "accept": "*/*", "accept-encoding": "gzip, deflate"} | {
            name.lower(): value for name, value in headers.items()
        }
        self._pace, self._clock = pace.Pace(options.rate), _Clock()
        self._pool = _pool(httpx.URL(url), options, _Backend(self._clock))
        self._told_until, self._lock = 0.0, threading.Lock()
        weakref.finalize(self, self._pool.close)

    def __repr__(self) -> str:
        return f"<transport to {self.shown}>"

    # What is said.

    def show(self, text: str, longest: int = 160) -> str:
        """The beginning of a text from the service, as one harmless line, without what is secret."""
        return sanitize.line(credentials.hide(text[: 100 * longest], self._secrets), longest)

    def tell(self, line: str, seconds: float) -> None:
        """Say what is waited for, once however many threads wait."""
        with self._lock:
            now = time.monotonic()
            if now < self._told_until:
                return
            self._told_until = now + max(seconds, 1.0)
        self._notify(f"{self.shown}: {line}")

    def hold(self, seconds: float) -> None:
        """Let no request start for so long."""
        self._pace.hold(seconds)

    # What is asked.

    def post(self, body: bytes, headers: Mapping[str, str], records: int, limit: int, stop: threading.Event) -> bytes:
        """The body of the answer.

        Args:
            records: that the request asks about.
            limit: bytes of the answer, unpacked.

        Raises:
            errors.Passing, errors.TooLarge, errors.Stopped: as they say.
            errors.Refused: the service does not understand.
            TargetError: no further try can help.
        """
        self._pace.wait(stop)
        if stop.is_set():
            raise errors.Stopped
        self._budget.take(records)
        try:
            with self._exchange("POST", self._place, {**self._headers, **headers}, body) as response:
                if not 200 <= response.status < 300:
                    self._refuse(response, records)
                return self._unpacked(response, limit, records)
        except _NEVER_SENT as error:
            self._budget.give_back(records)
            raise errors.Passing(f"the connection failed ({type(error).__name__})") from None
        except httpcore.TimeoutException:
            late = self._clock.left() <= 0
            what = f"no whole answer within {self.options.deadline:g} s" if late else "no answer within"
            raise errors.Passing(what if late else f"{what} {self.options.timeout:g} s") from None
        except httpcore.LocalProtocolError:
            self._budget.give_back(records)
            raise TargetError(
                f"{self.shown}: a header in MIA_JAX_HEADERS is none that HTTP has: mend its name or value"
            ) from None
        except _CLOSED as error:
            reason = f"the connection was closed before a whole answer came ({type(error).__name__})"
            raise errors.Passing(reason, closed=True) from None
        except _BROKEN as error:  # by its type: its text may hold headers
            raise errors.Passing(f"the connection failed ({type(error).__name__})") from None

    def get(self, url: str, limit: int = 2**20) -> bytes | None:
        """What is at another URL of the service, which is no query; None where there is nothing to be had."""
        try:
            with self._exchange("GET", self._parsed(url), self._headers) as response:
                return _start(response, limit) if 200 <= response.status < 300 else None
        except (httpcore.TimeoutException, *_BROKEN):
            return None

    def _parsed(self, url: str) -> httpcore.URL:
        parsed = httpx.URL(url)
        return httpcore.URL(scheme=parsed.raw_scheme, host=parsed.raw_host, port=parsed.port, target=parsed.raw_path)

    def _exchange(self, method: str, place: httpcore.URL, headers: Mapping[str, str], body: bytes | None = None):
        self._clock.until = time.monotonic() + self.options.deadline
        patience = self.options.timeout
        waits = {"connect": patience, "read": patience, "write": patience, "pool": self.options.deadline}
        fields = [(name.encode(), value.encode()) for name, value in headers.items()]
        return self._pool.stream(method, place, headers=fields, content=body, extensions={"timeout": waits})

    def _refuse(self, response: httpcore.Response, records: int) -> None:
        """Raise what a status that is no success means."""
        status = response.status
        if status == 413 and records > 1:
            raise errors.TooLarge
        said = self.show((_start(response, ERROR_BYTES) or b"").decode("utf-8", "replace")) or "it says nothing"
        if status in (408, 425, 429) or status >= 500:
            wait = pace.retry_after(_header(response, "retry-after"))
            raise errors.Passing(f"HTTP {status}: {said}", wait=wait, limited=status == 429, spoken=status == 500)
        if status in (401, 403):
            hint = "put a valid token into MIA_JAX_TOKEN, or headers into MIA_JAX_HEADERS"
            raise TargetError(f"{self.shown}: HTTP {status}: {hint}")
        if 300 <= status < 400:
            raise TargetError(f"{self.shown}: HTTP {status}: it has moved to {self._moved(response)}; use that URL")
        raise errors.Refused(f"{self.shown}: HTTP {status}: {said}")

    def _moved(self, response: httpcore.Response) -> str:
        try:
            place = urls.public(urllib.parse.urljoin(self.url, _header(response, "location")))
        except ValueError:
            place = "a place that is no URL"
        return self.show(place)

    def _unpacked(self, response: httpcore.Response, limit: int, records: int) -> bytes:
        """The body of an answer, unpacked up to a limit."""
        try:
            parts, size = [], 0
            for part in _pieces(response, limit + 1):
                parts.append(part)
                size += len(part)
                if size > limit:
                    raise TargetError(
                        f"{self.shown}: its answer to {records:,} records is longer than {limit / 2**20:,.0f} MiB: ask"
                        " about fewer at a time (`rows_per_request`)"
                    )
            return b"".join(parts)
        except zlib.error:
            raise errors.Passing("the answer cannot be unpacked", spoken=True) from None
        except ValueError as error:
            raise errors.Refused(f"{self.shown}: {self.show(str(error))}") from None


def _start(response: httpcore.Response, limit: int) -> bytes | None:
    """The beginning of a body, as far as it can be unpacked; None where it is cut off."""
    parts, size = [], 0
    with contextlib.suppress(ValueError, zlib.error):
        for part in _pieces(response, limit):
            parts.append(part)
            if (size := size + len(part)) >= limit:
                break
    return b"".join(parts)[:limit]


def _pieces(response: httpcore.Response, most: int):
    """A body piece by piece, unpacked, each of at most so many bytes. Raises ValueError for an unknown encoding."""
    encoding = _header(response, "content-encoding").strip().lower()
    if encoding in ("", "identity"):
        yield from response.iter_stream()
        return
    if encoding not in ("gzip", "x-gzip", "deflate"):  # packed twice, one kilobyte may become a gigabyte
        raise ValueError(f"its answer is encoded as {sanitize.quoted(encoding)}, and gzip or nothing was asked for")
    packed = zlib.decompressobj(47)
    for part in response.iter_stream():
        while part:
            yield packed.decompress(part, most)
            part = packed.unconsumed_tail
    if not packed.eof:
        raise zlib.error


def _header(response: httpcore.Response, name: str) -> str:
    wanted = name.encode()
    return next((value.decode("latin1") for key, value in response.headers if key.lower() == wanted), "")


# --- connections that keep to a deadline -----------------------------------------------------------------------------


class _Clock(threading.local):
    """Until when the request of this thread may take. A connection serves one thread at a time."""

    until = math.inf

    def left(self) -> float:
        return self.until - time.monotonic()

    def within(self, timeout: float | None) -> float:
        """The timeout, or what is left where that is less."""
        if (left := self.left()) <= 0:
            raise httpcore.ReadTimeout
        return left if timeout is None else min(timeout, left)


class _Stream(httpcore.NetworkStream):
    def __init__(self, stream: httpcore.NetworkStream, clock: _Clock):
        self._stream, self._clock = stream, clock

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, self._clock.within(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        for start in range(0, len(buffer), 2**18):
            self._stream.write(buffer[start : start + 2**18], self._clock.within(timeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(self, ssl_context, server_hostname=None, timeout=None) -> "_Stream":
        within = self._clock.within(timeout)
        return _Stream(self._stream.start_tls(ssl_context, server_hostname, within), self._clock)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


class _Backend(httpcore.NetworkBackend):
    def __init__(self, clock: _Clock):
        self._clock, self._plain = clock, httpcore.SyncBackend()

    def connect_tcp(self, host, port, timeout=None, local_address=None, socket_options=None) -> _Stream:
        within = self._clock.within(timeout)
        return _Stream(self._plain.connect_tcp(host, port, within, local_address, socket_options), self._clock)

    def sleep(self, seconds: float) -> None:
        self._plain.sleep(seconds)


class _PoolOptions(TypedDict):
    ssl_context: ssl.SSLContext | None
    max_connections: int
    max_keepalive_connections: int
    keepalive_expiry: float
    network_backend: httpcore.NetworkBackend


def _pool(url: httpx.URL, options: Options, backend: _Backend) -> httpcore.ConnectionPool:
    """Connections to a URL, through the proxy that the environment names for it; with httpx's certificates."""
    shared = _PoolOptions(
        ssl_context=httpx.create_ssl_context() if url.scheme == "https" else None,
        max_connections=options.in_flight,
        max_keepalive_connections=options.in_flight,
        keepalive_expiry=5.0,
        network_backend=backend,
    )
    proxies = urllib.request.getproxies()
    address = proxies.get(url.scheme) or proxies.get("all")
    if not address or urllib.request.proxy_bypass(url.host):
        return httpcore.ConnectionPool(**shared)
    proxy = httpx.Proxy(address if "://" in address else f"http://{address}")
    if proxy.url.scheme.startswith("socks"):
        socks = httpcore.SOCKSProxy(proxy_url=str(proxy.url), proxy_auth=proxy.raw_auth, **shared)
        return socks  # ty: ignore[invalid-explicit-return]  (without socksio it is a class that only says so)
    return httpcore.HTTPProxy(proxy_url=str(proxy.url), proxy_auth=proxy.raw_auth, **shared)
