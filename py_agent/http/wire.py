"""Connections that hold a request's limits, and the adapter that uses them.

The seams are urllib3's and requests' own: the classes of a pool manager, the socket class
of an SSL context, and the methods of `HTTPAdapter` that are there to be overridden.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import (
    ConnectTimeoutError,
    InvalidHeader,
    NameResolutionError,
    NewConnectionError,
)
from urllib3.util.ssl_ import create_urllib3_context

from ..errors import UsageError
from .answer import Answer
from .guard import Target, check, resolve
from .limits import (
    Call,
    Deadline,
    PlainSocket,
    TlsSocket,
    bad_answer,
    collect,
    current,
    too_long,
    unpack,
)

_PIECE = 65_536  # bytes read at once
_WITHOUT_CALL = 30.0  # seconds, for whoever uses an adapter on its own


def _open(connection: HTTPConnection) -> socket.socket:
    """Connect to the first address of a host that answers, if the guard lets us."""
    call = current.get()
    host, port = connection.host, connection.port or 0
    left = _WITHOUT_CALL if call is None else call.time_for_one_step()
    targets = resolve(host, port, left)
    if call is not None and call.guard:
        check(host, targets, call.allow_private)
    failure: OSError = OSError("the host has no address")
    for number, target in enumerate(targets):
        left = _WITHOUT_CALL if call is None else call.time_for_one_step()
        try:
            return _connect(connection, target, left / (len(targets) - number))
        except OSError as error:
            failure = error
    raise failure


def _connect(connection: HTTPConnection, target: Target, limit: float) -> socket.socket:
    sock = PlainSocket(target[0], socket.SOCK_STREAM)
    try:
        for option in connection.socket_options or []:
            sock.setsockopt(*option)
        if connection.source_address:
            sock.bind(connection.source_address)
        sock.settimeout(limit)
        sock.connect(target[1])
    except BaseException:
        sock.close()
        raise
    return sock


def _open_for_urllib3(connection: HTTPConnection) -> socket.socket:
    """Open, with the errors that urllib3 expects of a new connection."""
    try:
        return _open(connection)
    except socket.gaierror as error:
        raise NameResolutionError(connection.host, connection, error) from error
    except TimeoutError as error:
        raise ConnectTimeoutError(connection, str(error)) from error
    except OSError as error:
        raise NewConnectionError(connection, str(error)) from error


def _note_sent() -> None:
    """Note that a request has gone out; one that broke off on the way has not."""
    if (call := current.get()) is not None:
        call.sent = True


def _response_of(connection: HTTPConnection, get: Callable[[], Any]) -> Any:
    """Get the response; where its headers are refused, urllib3 forgets to close it."""
    sock = connection.sock
    try:
        return get()
    except InvalidHeader:
        if sock is not None and sock.fileno() >= 0:
            os.close(sock.detach())
        raise


class _PlainConnection(HTTPConnection):
    def _new_conn(self) -> socket.socket:
        return _open_for_urllib3(self)

    def request(self, *args: Any, **options: Any) -> None:
        super().request(*args, **options)
        _note_sent()

    def getresponse(self) -> Any:
        return _response_of(self, super().getresponse)


class _TlsConnection(HTTPSConnection):
    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        if self.ssl_context is None:
            self.ssl_context = create_urllib3_context()
        self.ssl_context.sslsocket_class = TlsSocket

    def _new_conn(self) -> socket.socket:
        return _open_for_urllib3(self)

    def request(self, *args: Any, **options: Any) -> None:
        super().request(*args, **options)
        _note_sent()

    def getresponse(self) -> Any:
        return _response_of(self, super().getresponse)


class _PlainPool(HTTPConnectionPool):
    ConnectionCls = _PlainConnection


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _TlsConnection


_POOLS = {"http": _PlainPool, "https": _TlsPool}


class LimitedAdapter(HTTPAdapter):
    """Sends one request over limited connections and reads its whole answer at once."""

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        super().init_poolmanager(*args, **options)
        self.poolmanager.pool_classes_by_scheme = _POOLS

    def proxy_manager_for(self, proxy: str, **options: Any) -> Any:
        manager = super().proxy_manager_for(proxy, **options)
        if not proxy.lower().startswith("socks"):  # which has connections of its own
            manager.pool_classes_by_scheme = _POOLS
        return manager

    def cert_verify(self, conn: Any, url: Any, verify: Any, cert: Any) -> None:
        parent: Any = super()
        try:
            parent.cert_verify(conn, url, verify, cert)
        except OSError as error:
            raise UsageError(f"a certificate file cannot be used: {error}") from error

    def build_response(self, req: Any, resp: Any) -> requests.Response:
        answer = Answer()
        answer.__dict__.update(super().build_response(req, resp).__dict__)
        return answer

    def send(
        self,
        request: requests.PreparedRequest,
        stream: bool = False,
        timeout: Any = None,
        verify: Any = True,
        cert: Any = None,
        proxies: Any = None,
    ) -> requests.Response:
        """Send a request; see `HTTPAdapter.send`. The body has been read on return.

        Raises:
            HttpError: the body is too long, cut or cannot be unpacked.
            UsageError: certificates would not be verified.
        """
        if not verify:
            raise UsageError(
                "verify=False would let anybody answer; for a certificate of your own "
                'pass verify="/path/to/ca.pem"'
            )
        call = current.get() or Call(Deadline(_WITHOUT_CALL, lambda: None))
        call.received, call.ended = 0, False
        answer = super().send(
            request, stream=True, timeout=call.time_for_one_step(), verify=verify,
            cert=cert, proxies=proxies,
        )  # fmt: skip
        try:
            if call.ended:  # http.client takes that for the end of the headers
                raise bad_answer("breaks off inside its headers", transient=True)
            body = _body(answer, call.max_bytes)
        except BaseException:
            answer.close()
            raise
        vars(answer).update(_content=body, _content_consumed=True)
        return answer


def _body(answer: requests.Response, limit: int) -> bytes:
    """Read a whole body, or none of it."""
    chunked = "Transfer-Encoding" in answer.headers
    if answer.request.method == "HEAD" or answer.status_code in (204, 304):
        if chunked:  # which promises a body that never comes
            answer.close()
            return b""
    elif not chunked:
        _check_length(answer.headers.get("Content-Length", "0"), limit)
    packed = collect(answer.raw.stream(_PIECE, decode_content=False), limit)
    return unpack(packed, answer.headers.get("Content-Encoding", ""), limit)


def _check_length(length: str, limit: int) -> None:
    """Refuse a length that cannot be right, or is too much."""
    lengths = {each.strip() for each in length.split(",")}
    if len(lengths) > 1 or not all(each.isascii() and each.isdigit() for each in lengths):
        raise bad_answer("does not say how long it is", transient=True)
    if int(lengths.pop()[:20]) > limit:
        raise too_long(limit)
