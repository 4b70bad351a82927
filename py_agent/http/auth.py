"""Credentials that know how to be sent, and how not to be shown."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import quote_plus

from requests.auth import AuthBase, HTTPBasicAuth
from requests.exceptions import UnrewindableBodyError
from requests.utils import rewind_body

from ..errors import HttpError, UsageError
from .limits import Call, current
from .text import shown_url
from .waits import is_worth_retrying

if TYPE_CHECKING:
    from requests import PreparedRequest, Response

EARLY = 60.0  # seconds before its end at which a token is replaced, at most
EARLY_PART = 0.1  # and at most this part of its life

_NAME = re.compile(r"[-!#$%&'*+.^_`|~0-9A-Za-z]+")  # RFC 9110, section 5.6.2
_VALUE = re.compile(r"[!-~]([ -~]*[!-~])?")
_CODE = re.compile(r"[a-z_]{1,40}")  # RFC 6749, section 5.2, as providers use it


def _revealed(secret: Any, what: str) -> str:
    """Return a secret's text.

    Raises:
        UsageError: it cannot be sent in a header; the secret is not shown.
    """
    reveal = getattr(secret, "get_secret_value", None)
    text = reveal() if callable(reveal) else secret
    if isinstance(text, str):
        text = text.strip()  # files end with a line break
        if _VALUE.fullmatch(text):
            return text
    raise UsageError(f"{what} must be printable ASCII text, as str or SecretStr")


class HeaderAuth(AuthBase):
    """A secret in a header of its own, as in `HeaderAuth("X-Api-Key", key)`.

    Args:
        name: the header.
        secret: str or pydantic's SecretStr.

    Raises:
        UsageError: the name or the secret cannot stand in a header.
    """

    def __init__(self, name: str, secret: Any) -> None:
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise UsageError(f"{name!r} cannot be the name of a header")
        self.name = name
        self._value = _revealed(secret, f"the secret of {name}")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r}, ***)"

    def __call__(self, r: PreparedRequest) -> PreparedRequest:
        r.headers[self.name] = self._value
        return r


class BearerAuth(HeaderAuth):
    """A token as in `Authorization: Bearer ...` (RFC 6750).

    Args:
        token: str or pydantic's SecretStr.

    Raises:
        UsageError: the token cannot stand in a header.
    """

    def __init__(self, token: Any) -> None:
        super().__init__("Authorization", token)
        self._value = f"Bearer {self._value}"

    def __repr__(self) -> str:
        return "BearerAuth(***)"


@dataclass(frozen=True)
class _Token:
    text: str
    until: datetime | None  # None: until the server refuses it

    def holds(self, now: datetime) -> bool:
        return self.until is None or now < self.until


class ClientCredentials(AuthBase):
    """OAuth 2 client credentials (RFC 6749, section 4.4).

    The token is fetched when it is first needed, once for all threads that share this
    object, replaced a little before it ends, and once when the server answers 401.

    Args:
        token_url: where tokens are had.
        client_id: who we are.
        client_secret: str or pydantic's SecretStr.
        scope: what the token is for, words between spaces.
        in_body: send id and secret in the form instead of as basic authentication,
            for servers that want it so.

    Raises:
        UsageError: the secret cannot be sent.
    """

    def __init__(
        self,
        token_url: str,
        client_id: str,
        client_secret: Any,
        scope: str | None = None,
        *,
        in_body: bool = False,
    ) -> None:
        self.token_url = token_url
        self.client_id = client_id
        self.scope = scope
        self._secret = _revealed(client_secret, "client_secret")
        self._in_body = in_body
        self._lock = threading.Lock()
        self._token: _Token | None = None

    def __repr__(self) -> str:
        url = shown_url(self.token_url)
        return f"ClientCredentials({url!r}, {self.client_id!r}, ***)"

    def __call__(self, r: PreparedRequest) -> PreparedRequest:
        self._sign(r, self._valid(refused=None))
        hooked: Any = r
        hooked.register_hook("response", self._once_more)
        return r

    @staticmethod
    def _sign(r: PreparedRequest, token: str) -> None:
        r.headers["Authorization"] = f"Bearer {token}"

    def _once_more(self, r: Response, **options: Any) -> Response:
        """Answer a 401 to our token with another token, once."""
        header = str(r.request.headers.get("Authorization", ""))
        if r.status_code != 401 or not header.startswith("Bearer "):
            return r  # at another host the token is gone already, and stays so
        used = header.removeprefix("Bearer ")
        again = r.request.copy()
        if getattr(again, "_body_position", None) is not None:
            try:
                rewind_body(again)
            except UnrewindableBodyError:
                return r
        self._sign(again, self._valid(refused=used))
        answer: Response = r.connection.send(again, **options)
        answer.history.append(r)
        answer.request = again
        return answer

    def _valid(self, refused: str | None) -> str:
        """Return a token that holds and is not the one that was refused.

        Raises:
            HttpError: there is none to be had, or not in time.
        """
        call = current.get()
        if call is None:
            raise UsageError("ClientCredentials needs a session of py_agent")
        if not self._lock.acquire(timeout=max(0.0, call.deadline.left())):
            raise HttpError(
                f"{shown_url(self.token_url)}: no token in time", transient=True
            )
        try:
            now: Callable[[], datetime] = call.session.now
            token = self._token
            if token is None or token.text == refused or not token.holds(now()):
                self._token = None
                self._token = token = self._fetched(call, now())
            return token.text
        finally:
            self._lock.release()

    def _fetched(self, call: Call, now: datetime) -> _Token:
        outer = call.session
        form, auth = self._grant()
        if self.scope:
            form["scope"] = self.scope
        with type(outer)(wait=outer.wait, time_left=outer.time_left, now=outer.now) as own:
            own.verify, own.cert, own.proxies = outer.verify, outer.cert, outer.proxies
            answer = own.post(
                self.token_url, data=form, auth=auth, allow_redirects=False,
                timeout=max(0.0, call.deadline.left()), max_bytes=1_000_000,
                headers={"Accept": "application/json"},
            )  # fmt: skip
            return self._read(answer, now)

    def _grant(self) -> tuple[dict[str, str], Any]:
        """Return the form that asks for a token, and what signs the request."""
        form = {"grant_type": "client_credentials"}
        if self._in_body:
            return {
                **form,
                "client_id": self.client_id,
                "client_secret": self._secret,
            }, None
        # Both are form-encoded first, says section 2.3.1.
        return form, HTTPBasicAuth(quote_plus(self.client_id), quote_plus(self._secret))

    def _read(self, answer: Any, now: datetime) -> _Token:
        """Return the token in an answer (RFC 6749, section 5.1).

        Raises:
            HttpError: there is none; the answer itself is not shown.
        """
        where = shown_url(self.token_url)
        if answer.status_code != 200:
            raise HttpError(
                f"{where}: no token: status {answer.status_code}{_code(answer)}",
                status=answer.status_code,
                retry_after=answer.retry_after,
                transient=is_worth_retrying(answer.status_code, answer.retry_after),
            )
        body = answer.json()
        body = body if isinstance(body, dict) else {}
        text, kind = body.get("access_token"), body.get("token_type", "bearer")
        if not isinstance(text, str) or not _VALUE.fullmatch(text):
            raise HttpError(f"{where}: the answer holds no usable access_token", 200)
        if str(kind).lower() != "bearer":
            raise HttpError(f"{where}: the token is not a bearer token", 200)
        return _Token(text, _until(body.get("expires_in"), now))


class PasswordCredentials(ClientCredentials):
    """OAuth 2 with a user's name and password (RFC 6749, section 4.3).

    For servers that offer nothing better to a program; otherwise as `ClientCredentials`.

    Args:
        token_url: where tokens are had.
        client_id: the application that asks.
        username: who signs in.
        password: str or pydantic's SecretStr.
        scope: what the token is for, words between spaces.

    Raises:
        UsageError: the password cannot be sent.
    """

    def __init__(
        self,
        token_url: str,
        client_id: str,
        username: str,
        password: Any,
        scope: str | None = None,
    ) -> None:
        super().__init__(token_url, client_id, password, scope, in_body=True)
        self.username = username

    def __repr__(self) -> str:
        url = shown_url(self.token_url)
        return f"PasswordCredentials({url!r}, {self.client_id!r}, {self.username!r}, ***)"

    def _grant(self) -> tuple[dict[str, str], Any]:
        form = {"grant_type": "password", "client_id": self.client_id}
        return {**form, "username": self.username, "password": self._secret}, None


def _until(life: Any, now: datetime) -> datetime | None:
    """Return when a token is to be replaced; a life that makes no sense is none."""
    if life is None:
        return None
    try:
        lasts = min(max(0.0, float(life)), 10.0**9)
    except (TypeError, ValueError, OverflowError):
        return now
    if lasts != lasts:
        return now
    return now + timedelta(seconds=lasts - min(EARLY, lasts * EARLY_PART))


def _code(answer: Any) -> str:
    """Return the error code of a refusal, the only part that is safe to show."""
    try:
        code = answer.json().get("error")
    except (HttpError, AttributeError):
        return ""
    return f", {code}" if isinstance(code, str) and _CODE.fullmatch(code) else ""
