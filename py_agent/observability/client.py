"""Posts one report or heartbeat, and says what an answer means.

The server answers 204 and nothing else to what it took; it knows no repeats, so a post is
never repeated here, and no redirect of one is followed.
"""

from __future__ import annotations

import json
from enum import Enum
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from ..errors import HttpError
from ..failures import printable
from ..http import HeaderAuth
from ..http.text import shown_url
from .models import encode
from .settings import CoreSettings, ObservabilitySettings

if TYPE_CHECKING:
    from ..http import Http

KEY_HEADER = "ServiceAccountAuthenticationKey"
HEARTBEAT = "agent/v1/heartbeat"
SHOWN = 1_000  # characters of what the server says; it lists every field that is wrong

UNAUTHORIZED = (
    "Observability refuses the service-account key for {what} (status {status}); set "
    "DK_OBSERVABILITY_SERVICE_ACCOUNT_KEY, or [core] observability_service_account_key, "
    "to a key of the project that may be used for events and agents"
)


class Verdict(Enum):
    """What an error means for the report, and for those behind it."""

    REFUSED = "this report will never be taken"
    UNAUTHORIZED = "no report is taken with this key"
    MISDIRECTED = "this is not Observability, or not its address"
    AWAY = "the server cannot be asked now"
    FAILED = "the server failed, perhaps at this report"
    LOST = "it may have been taken: the answer is lost"


def verdict(error: HttpError) -> Verdict:
    """Return what an error of `post` means."""
    status = error.status
    if status is None:
        return Verdict.LOST if error.sent else Verdict.AWAY
    if status in (401, 403):
        return Verdict.UNAUTHORIZED
    if status < 400:
        return Verdict.MISDIRECTED
    if status in (408, 429) or (status >= 500 and error.retry_after is not None):
        return Verdict.AWAY
    if status == 504:  # a gateway that has asked, and waited in vain
        return Verdict.LOST
    return Verdict.FAILED if status >= 500 else Verdict.REFUSED


def is_there(http: Http, core: CoreSettings, how: ObservabilitySettings) -> bool:
    """Return whether the server answers at all; nothing is stored there by that."""
    url = f"{core.observability_base_url}events/readyz"
    try:
        answer = http.get(
            url, timeout=how.connection_timeout, verify=how.verify, retries=0,
            allow_redirects=False,
        )  # fmt: skip
    except HttpError:
        return False
    return bool(answer.status_code < 500)


def event_path(event_type: str) -> str:
    """Return the address of an event type, below the base URL."""
    return f"events/v1/{quote(event_type)}"


def post(
    http: Http,
    core: CoreSettings,
    how: ObservabilitySettings,
    path: str,
    wire: dict[str, Any],
    timeout: float | None = None,
) -> None:
    """Post something, and return when the server has taken it.

    Args:
        http: sends.
        core: where to, and with which key.
        how: limits of time, and the certificates to trust.
        path: below the base URL.
        wire: what to post, as `models.validate` returns it.
        timeout: seconds for all of it; the settings' if not given.

    Raises:
        HttpError: it was not taken, or it is not known whether it was; see `verdict`.
    """
    url = f"{core.observability_base_url}{path}"
    key = core.observability_service_account_key
    answer = http.post(
        url,
        data=encode(wire),
        headers={"Content-Type": "application/json"},
        auth=HeaderAuth(KEY_HEADER, key),
        timeout=how.read_timeout if timeout is None else timeout,
        verify=how.verify,
        allow_redirects=False,
    )
    if answer.status_code == 204:
        return
    said = answer.text
    for shown in {key.get_secret_value(), json.dumps(key.get_secret_value())[1:-1]}:
        said = said.replace(shown, "***")  # before it is cut, or a part would be left
    said = printable(" ".join(said[:SHOWN].split()))
    raise HttpError(
        f"POST {shown_url(url)}: status {answer.status_code}{': ' if said else ''}{said}",
        status=answer.status_code,
        retry_after=getattr(answer, "retry_after", None),
        transient=answer.status_code >= 500,
        sent=True,
    )
