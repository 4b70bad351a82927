"""The polite poller: a requests session with limits of time, size and place.

Each request ends within its time, whatever the server does; its answer is whole or an
error; credentials stay with the host that they are for; safe methods are tried again as
the server asks. What is not said here is as in requests.
"""

from __future__ import annotations

import copy
import logging
import random
import threading
from collections.abc import Callable, Collection, Iterator, MutableMapping
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import count
from typing import TYPE_CHECKING, Any

import requests
from requests.auth import AuthBase, HTTPBasicAuth
from requests.utils import get_auth_from_url
from urllib3.exceptions import HTTPError as Urllib3Error

from ..errors import HttpError, HttpRefusedError, StoppedError, UsageError
from ..retry import RetryPolicy, seconds
from .answer import Answer
from .changes import conditions, is_same, key_of, remember, validators_of
from .limits import MAX_BYTES, Call, Deadline, TimeLeft, current
from .mapping import explained
from .secrets import secret_headers
from .text import origin, shown_url
from .waits import SAFE, asked_wait, is_worth_retrying
from .wire import LimitedAdapter

log = logging.getLogger("py_agent.http")

TIMEOUT = 30.0  # seconds, all in all
MAX_REDIRECTS = 5
BACKOFF = RetryPolicy(attempts=None, first=0.5, cap=10)

_FOREIGN = (requests.RequestException, Urllib3Error, OSError, ValueError)

if TYPE_CHECKING:
    from requests import PreparedRequest, Request, Response


def _not_while_ours(record: logging.LogRecord) -> bool:
    """Keep urllib3 from logging the URLs of our requests, with their queries."""
    return current.get() is None


for _name in ("connection", "connectionpool", "response", "util.retry"):
    logging.getLogger(f"urllib3.{_name}").addFilter(_not_while_ours)


def _wait_plainly(seconds: float) -> bool:
    return not threading.Event().wait(seconds)


class Http(requests.Session):
    """What a job or listener has as `handler.http`.

    Args:
        wait: waits so many seconds; false as soon as a stop is asked for.
        time_left: seconds left of the surrounding `timeout(...)` scope, None without one.
        validators: what `get_if_changed` remembers, by URL; empty if not given.
        now: the wall clock, for dates that servers send.
        retry: the waits between tries; how many there are is said at each request.
    """

    def __init__(
        self,
        *,
        wait: Callable[[float], bool] = _wait_plainly,
        time_left: TimeLeft = lambda: None,
        validators: MutableMapping[str, Any] | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        retry: RetryPolicy | None = None,
    ) -> None:
        super().__init__()
        self.wait = wait
        self.time_left = time_left
        self.validators = {} if validators is None else validators
        self.now = now
        self.retry = retry or BACKOFF
        self._chance = random.Random()
        self.max_redirects = MAX_REDIRECTS
        self.headers["Accept-Encoding"] = "gzip, deflate"
        # A guarded request never takes over a connection that was opened unguarded.
        for guard in ("", "guard:", "guard-private:"):
            self.mount(f"{guard}http://", LimitedAdapter())
            self.mount(f"{guard}https://", LimitedAdapter())

    if TYPE_CHECKING:  # the shortcuts of requests take our arguments, too

        def get(self, url: Any, params: Any = None, **options: Any) -> Response: ...
        def options(self, url: Any, **options: Any) -> Response: ...
        def head(self, url: Any, **options: Any) -> Response: ...
        def post(
            self, url: Any, data: Any = None, json: Any = None, **options: Any
        ) -> Response: ...
        def put(self, url: Any, data: Any = None, **options: Any) -> Response: ...
        def patch(self, url: Any, data: Any = None, **options: Any) -> Response: ...
        def delete(self, url: Any, **options: Any) -> Response: ...

    def request(
        self,
        method: Any,
        url: Any,
        *args: Any,
        timeout: Any = TIMEOUT,
        max_bytes: int = MAX_BYTES,
        retries: int = 3,
        guard: bool = False,
        allow_private: bool = False,
        retry_on: Collection[int] = (),
        **options: Any,
    ) -> Response:
        """Send a request and return its whole answer, whatever its status is.

        Args:
            method: GET, HEAD and OPTIONS are tried again where that may help.
            url: http or https.
            args: as `requests.Session.request` takes them.
            timeout: seconds or timedelta for all of it: connecting, redirects, retries
                and the waits between them.
            max_bytes: the most bytes of the body, packed as well as unpacked.
            retries: tries after the first.
            guard: for URLs that come from event data: only public addresses are
                allowed, at each redirect, and no proxy is used.
            allow_private: with `guard`, the own network is allowed, too.
            retry_on: statuses after which any method is tried again, also one that
                changes something: what the server means by them is yours to know.
            options: as `requests.Session.request` takes them.

        Raises:
            HttpError: no connection, no whole answer in time or within the limits, or the
                server asks for a longer wait than there is time.
            HttpRefusedError: a URL or address that is not allowed.
            StoppedError: a stop was asked for during a wait.
            UsageError: an argument that cannot be right.
        """
        name = (method.decode() if isinstance(method, bytes) else str(method)).upper()
        deadline = Deadline(seconds(timeout, "timeout"), self.time_left)
        limits = (_count(max_bytes, "max_bytes"), guard, allow_private)
        most = _count(retries, "retries")
        for failures in count(1):
            call = Call(deadline, *limits, session=self)
            outcome = self._outcome(
                call, lambda: super(Http, self).request(name, url, *args, **options)
            )
            if failures > most or not _may_change(outcome, name in SAFE, retry_on):
                break
            if not self._waited(outcome, failures, deadline):
                break
        if isinstance(outcome, HttpError):
            raise outcome
        return outcome

    def get_if_changed(self, url: str, **options: Any) -> Response | None:
        """Get a URL unless the server says that it is as it was.

        Args:
            url: what to get.
            options: as `request` takes them.

        Returns:
            The answer; None if it has not changed since the last one.

        Raises:
            HttpError: as `request` does.
        """
        key = key_of(requests.Request("GET", url, params=options.get("params")))
        known = self.validators.get(key)
        headers = {**conditions(known), **(options.pop("headers", None) or {})}
        answer = self.get(url, headers=headers, **options)
        if answer.status_code == 304:
            return None
        if answer.status_code == 200:
            found = validators_of(answer)
            remember(self.validators, key, found)
            if is_same(known, found):
                return None
        return answer

    def send(self, request: PreparedRequest, **options: Any) -> Response:
        """Send a prepared request; see `requests.Session.send`.

        Raises:
            HttpError: as `request` does; it is not tried again here.
            UsageError: the body should have been streamed.
        """
        if options.get("stream", self.stream):
            raise UsageError("stream=True has no limits; leave it out, the body is read")
        call = current.get()
        if call is None:
            alone = Call(Deadline(TIMEOUT, self.time_left), session=self)
            outcome = self._outcome(alone, lambda: self.send(request, **options))
            if isinstance(outcome, HttpError):
                raise outcome
            return outcome
        self._check(call, request)
        if call.guard:
            options["proxies"] = {}
        return super().send(request, **options)

    def get_adapter(self, url: Any) -> Any:
        """Return the adapter for a URL: another one where the guard is on."""
        call = current.get()
        if call is None or not call.guard:
            return super().get_adapter(url)
        return super().get_adapter(
            f"{'guard-private' if call.allow_private else 'guard'}:{url}"
        )

    def merge_environment_settings(
        self, url: Any, proxies: Any, stream: Any, verify: Any, cert: Any
    ) -> Any:
        """Merge in what the environment says; a file set in code wins over it."""
        if verify is None and self.verify is not True:
            verify = self.verify
        return super().merge_environment_settings(url, proxies, stream, verify, cert)

    def prepare_request(self, request: Request) -> PreparedRequest:
        """Prepare a request; credentials never come from a netrc file."""
        if not request.auth and not self.auth:
            request = copy.copy(request)
            request.auth = _AuthOfUrl()
        return super().prepare_request(request)

    def rebuild_auth(self, prepared_request: Any, response: Any) -> None:
        """Drop at a redirect to another host all that may be a credential."""
        first = response.history[0] if response.history else response
        if origin(prepared_request.url) != origin(first.request.url):
            for name in secret_headers(prepared_request):
                del prepared_request.headers[name]

    def _check(self, call: Call, request: PreparedRequest) -> None:
        """Refuse a URL that must not be asked, be it the first or a redirect's."""
        url = request.url or ""
        target = origin(url)
        if target[0] not in ("http", "https"):
            raise HttpRefusedError(f"{shown_url(url)}: only http and https are allowed")
        if call.first is None:
            call.first = target
            call.secret = bool(secret_headers(request))
        elif call.secret and call.first[0] == "https" and target[0] == "http":
            raise HttpRefusedError(
                f"{shown_url(url)}: a redirect from https to http is not followed with "
                f"credentials"
            )
        call.where = f"{request.method} {shown_url(url)}"
        log.debug("%s", call.where)

    def _outcome(self, call: Call, do: Callable[[], Response]) -> Answer | HttpError:
        """Return the answer of one try, or why there is none."""
        with _called(call):
            try:
                answer = do()
            except HttpError as error:
                error.sent = call.sent
                return error
            except _FOREIGN as error:
                return explained(error, call)
        assert isinstance(answer, Answer), "a LimitedAdapter made it"
        answer.retry_after = asked_wait(answer.status_code, answer.headers, self.now())
        return answer

    def _waited(
        self, outcome: Answer | HttpError, failures: int, deadline: Deadline
    ) -> bool:
        """Wait before the next try; return whether there is time for one."""
        asked = outcome.retry_after
        wait = max(asked or 0.0, self.retry.delay(failures, self._chance))
        left = deadline.left()
        if wait >= left:
            if asked is not None and asked >= left and isinstance(outcome, Answer):
                raise _asks_too_much(outcome, asked)
            return False
        log.debug("trying again in %.1f s", wait)
        if not deadline.spend(self.wait, wait):
            raise StoppedError("the request was given up, as a stop was asked for")
        return True


class _AuthOfUrl(AuthBase):
    """The user and password in the URL itself, and no others."""

    def __call__(self, r: PreparedRequest) -> PreparedRequest:
        user, password = get_auth_from_url(r.url or "")
        return HTTPBasicAuth(user, password)(r) if user or password else r


@contextmanager
def _called(call: Call) -> Iterator[None]:
    token = current.set(call)
    try:
        yield
    finally:
        current.reset(token)


def _count(value: Any, name: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise UsageError(f"{name} must be a number from 0 on, not {value!r}")
    return value


def _may_change(outcome: Answer | HttpError, safe: bool, retry_on: Collection[int]) -> bool:
    """Return whether a request should be sent again for what came of it."""
    if isinstance(outcome, HttpError):
        return safe and outcome.transient
    if outcome.status_code in retry_on:
        return True
    return safe and is_worth_retrying(outcome.status_code, outcome.retry_after)


def _asks_too_much(answer: Answer, asked: float) -> HttpError:
    return HttpError(
        f"{answer.request.method} {shown_url(answer.url)}: status {answer.status_code}, "
        f"the server asks to wait {asked:.0f} s",
        status=answer.status_code,
        retry_after=asked,
        transient=True,
        sent=True,
    )
