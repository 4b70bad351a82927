"""A listener that posts each event to a URL, with a signature if you like."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import SecretStr

from py_agent import Discard, Event, Handler, HttpError, Pause, Retry

Secret = SecretStr | str

HOUR = 3600.0  # seconds until a paused webhook looks whether it was mended
KEY_BYTES = 24  # of a signing secret, at least (Standard Webhooks, "Signature scheme")

_GONE = 410
_TOO_MANY = 429
_OF_ALL = frozenset({*range(300, 400), 401, 403, 407, _GONE})  # not of one event alone
_MAY_PASS = frozenset({404, 408, 425, _TOO_MANY})  # and all from 500 on
_URL = re.compile(r"(https?://)(?:[^/?#\s]*@)?([^/?#\s]+)\S*?(?=:?(?:\s|$))", re.I)
_TELLING = 6  # characters from which a part of a secret is looked for in a text


def webhook(
    handler: Handler,
    event: Event,
    url: Secret,
    secret: Secret | Sequence[Secret] | None = None,
    headers: Mapping[str, Secret] | None = None,
    within: float = 30,
    guard: bool = False,
    verify: Path | None = None,
) -> None:
    """Post an event as JSON to a URL, and settle what the answer means.

    The body is as Standard Webhooks has it, with an id, an identifier and a source:

        {"type": "file.created", "timestamp": "2026-01-05T12:00:00Z",
         "data": {"path": "/home/me/inbox/a.txt"},
         "id": "msg_0c1f...", "identifier": "/home/me/inbox/a.txt", "source": "jobs.inbox"}

    The id is the header `Idempotency-Key`, too. It is the same on every attempt, and no
    other event, listener or store has it: a receiver that keeps the ids it has seen does
    everything once, even where our attempt arrived and its answer was lost.

    With `secret` there are the headers `webhook-id`, `webhook-timestamp` and
    `webhook-signature` of https://www.standardwebhooks.com, for which receivers have
    ready-made checks.

    What an answer means:

        2xx                 done
        408, 425, 5xx, 404, a failed attempt, tried again as the listener's `retry` says;
        no whole answer     a wait that the server asks for (Retry-After) is kept. 404 is
                            among them, as receivers say it while they are renewed
        429                 the same; if the server says for how long, all events wait
        3xx, 401, 403, 407, this concerns every event and not just this one: the listener
        a wrong URL, secret is paused with the reason, and looks again after an hour;
        or certificate      `agent resume` does not wait for that
        410                 the receiver wants no more: paused until `agent resume`
        any other 4xx       this event is refused: a dead letter with the server's words

    A URL, its path and query, the headers and the secret are never shown, as many
    services have their credential there; of a URL only the host is.

    Args:
        handler: sends.
        event: what to post.
        url: where to; a redirect is not followed.
        secret: signs: `whsec_` and the base64 form of at least 24 random bytes. With
            several, each signs, so that a receiver can change from one to the next.
        headers: to be sent as well.
        within: seconds for the whole request.
        guard: for a URL that comes from the event: only public addresses are posted to,
            and what is wrong with one is this event's fault, not the listener's.
        verify: a file of certificates to trust, for a receiver with one of its own.

    Raises:
        Retry: it may succeed later.
        Discard: it never will.
        Pause: nothing will, for now.
    """
    body = _body(handler, event)
    sent = {"Content-Type": "application/json", **_plain_values(headers)}
    sent["Idempotency-Key"] = _key(handler, event)
    if secret is not None:
        sent |= signed(_key(handler, event), handler.http.now(), body, _keys(secret))
    options = {"timeout": within, "guard": guard, "verify": verify and str(verify)}
    try:
        answer = handler.http.post(
            _plain(url), data=body, headers=sent, allow_redirects=False, **options
        )
        answer.raise_for_status()
        if answer.status_code >= 300:
            raise _moved(_plain(url), answer.status_code)
    except HttpError as error:
        secrets = [_plain(url), *_plain_values(headers).values()]
        # Not `from error`: the causes may quote the URL.
        raise _verdict(error, _without_secrets(str(error), secrets), guard) from None


def signed(key: str, moment: datetime, body: bytes, secrets: list[bytes]) -> dict[str, str]:
    """Return the headers that prove who sent a body, and when.

    Standard Webhooks 1.0.0, "Signature scheme" and "Webhook headers".

    Args:
        key: the event's id, the same on every attempt.
        moment: the time of this attempt, aware.
        body: what is sent, to the byte.
        secrets: the keys; there is a signature for each.
    """
    stamp = str(int(moment.timestamp()))
    content = f"{key}.{stamp}.".encode() + body
    digests = [hmac.digest(each, content, "sha256") for each in secrets]
    return {
        "webhook-id": key,
        "webhook-timestamp": stamp,
        "webhook-signature": " ".join(
            f"v1,{base64.b64encode(each).decode()}" for each in digests
        ),
    }


def _body(handler: Handler, event: Event) -> bytes:
    content = {
        "type": event.event_type,
        "timestamp": event.created.isoformat().replace("+00:00", "Z"),
        "data": event.data,
        "id": _key(handler, event),
        "identifier": event.identifier,
        "source": event.source,
    }
    return json.dumps(content, separators=(",", ":"), allow_nan=False).encode()


def _key(handler: Handler, event: Event) -> str:
    """Return what this event has for this listener only, whatever the store.

    `event.delivery_key` counts within one store, and another agent that posts to the same
    URL counts as well. The moment at which the store took the event tells stores apart.
    """
    parts = [event.event_type, event.identifier, event.created.isoformat(), handler.source]
    return f"msg_{hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]}"


def _keys(secret: Secret | Sequence[Secret]) -> list[bytes]:
    """Return the signing keys.

    Raises:
        Pause: one of them is none; every event would go out unsigned.
    """
    given = [secret] if isinstance(secret, Secret) else secret
    found = [_key_bytes(_plain(each)) for each in given]
    if not found or any(len(each) < KEY_BYTES for each in found):
        raise Pause(
            "a webhook's secret is not 'whsec_' and the base64 form of at least "
            f"{KEY_BYTES} bytes; set it to one that its receiver knows",
            after=HOUR,
        )
    return found


def _key_bytes(text: str) -> bytes:
    """Return a key from its base64 form; nothing if it is in no such form."""
    digits = text.strip().removeprefix("whsec_").rstrip("=")
    try:
        return base64.b64decode(digits + "=" * (-len(digits) % 4), validate=True)
    except (binascii.Error, ValueError):
        return b""


def _verdict(error: HttpError, reason: str, of_this_event: bool) -> Retry | Discard | Pause:
    """Return what to ask for after an error.

    Args:
        error: what went wrong.
        reason: the same in words that may be shown.
        of_this_event: whether the URL belongs to this event alone.
    """
    status, asked = error.status, error.retry_after or None
    if status == _TOO_MANY and asked and not of_this_event:
        return Pause(reason, after=asked)
    if error.transient or (status and (status in _MAY_PASS or status >= 500)):
        return Retry(after=asked, reason=reason)
    if of_this_event or (status and status not in _OF_ALL):
        return Discard(reason)
    return Pause(reason, after=None if status == _GONE else asked or HOUR)


def _moved(url: str, status: int) -> HttpError:
    return HttpError(
        f"POST {url}: status {status} is a redirect, which is not followed; set the "
        f"webhook's url to the place that it redirects to",
        status=status,
    )


def _plain(secret: Secret) -> str:
    return secret.get_secret_value() if isinstance(secret, SecretStr) else secret


def _plain_values(headers: Mapping[str, Secret] | None) -> dict[str, str]:
    return {name: _plain(value) for name, value in (headers or {}).items()}


def _without_secrets(text: str, secrets: list[str]) -> str:
    """Return a text in which URLs end after their host, and secrets are hidden.

    A server may well quote the path or a header in its answer.
    """
    text = _URL.sub(r"\1\2", text)
    for part in sorted({each for one in secrets for each in _parts(one)}, key=len)[::-1]:
        text = text.replace(part, "***")
    return text


def _parts(secret: str) -> Iterator[str]:
    """Yield a secret and its parts that tell something; of a URL all after the host."""
    if secret.lower().startswith(("http://", "https://")):
        parts = urlsplit(secret)
        secret = f"{parts.netloc.rpartition('@')[0]} {parts.path} {parts.query}"
    for each in (secret.strip(), *re.split(r"[\s/?&=:@]+", secret)):
        if len(each) >= _TELLING:
            yield each
