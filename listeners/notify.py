"""A listener that tells people: by mail, chat or phone, through apprise.

It needs the extra: `pip install "py-agent[notify]"`.
"""

from __future__ import annotations

import logging
import queue
import re
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from typing import Literal

from pydantic import SecretStr

from listeners import event_text
from listeners.event_text import EventText
from py_agent import Event, Handler, Pause

try:
    import apprise
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        'listeners.notify needs the library apprise: pip install "py-agent[notify]"'
    ) from error

Secret = SecretStr | str

MOST_HANGING = 4  # threads of one listener that are left behind
HOUR = 3600.0  # seconds until a paused listener looks whether it was mended
WHILE_HANGING = 600.0  # seconds until it looks whether a thread has ended

_hanging: defaultdict[str | None, set[object]] = defaultdict(set)
_guard = threading.Lock()


def notify(
    handler: Handler,
    event: Event,
    urls: Secret | Sequence[Secret],
    title: EventText = "$event_type",
    body: EventText = "$identifier",
    kind: Literal["info", "success", "warning", "failure"] = "info",
    within: float = 30,
) -> None:
    """Send a notification about an event to each of some places.

    In title and body stand the words `$event_type`, `$identifier`, `$created`, `$source`
    and `$data`, and paths into the data: `$data.price`, `$data.items.0.name`. Braces part
    a word from what follows, as in `${identifier}s`; `$$` is a dollar sign. What is not in
    an event's data is left as it stands there, so that it is seen.

    Where a place refuses or cannot be reached, the whole attempt has failed, and is tried
    again as the listener's `retry` says; the other places get it again, too. Where that
    disturbs, make a listener, with a name of its own, for each place.

    Neither the URLs nor what apprise logs are ever shown, as both hold credentials. To see
    what is wrong with a URL, ask the library itself: `apprise -vv -b test "the URL"`.

    Args:
        handler: belongs to the listener.
        event: what to tell about.
        urls: where to, as https://appriseit.com/services/ has it: one or several.
        title: the title, with words to be filled in.
        body: the text, with words to be filled in.
        kind: how good or bad the news is; some places show it as a colour or symbol.
        within: seconds for all places; what does not end in time has failed.

    Raises:
        NotSentError: a place refused, could not be reached, or did not answer in time.
        Pause: every notification would fail, as a URL or word is wrong; the listener
            looks again after an hour, `agent resume` does not wait for that.
    """
    texts = " ".join(filled(title, event).split()), filled(body, event)
    places = [_plain(each) for each in ([urls] if isinstance(urls, Secret) else urls)]
    left = handler.time_left
    limit = within if left is None else min(within, max(0.0, left))
    failed = _bounded(handler.source, limit, lambda: list(_failures(places, *texts, kind)))
    if failed:
        raise NotSentError("; ".join(failed))


class NotSentError(Exception):
    """A notification did not reach all its places; it is tried again."""


def filled(text: str, event: Event) -> str:
    """Return a text with its words replaced by what the event says.

    Args:
        text: the text; see `notify`.
        event: the event.

    Raises:
        Pause: it names what no event has.
    """
    try:
        return event_text.filled(text, event_text.said_in(text, event))
    except ValueError as error:
        raise Pause(f"the text of a notification: {error}", after=HOUR) from None


def _bounded(
    listener: str | None, within: float, send: Callable[[], list[str]]
) -> list[str]:
    """Return what a call on a thread of its own returns, unless it takes too long.

    Each step of apprise has limits of its own, but all of them together have none. A
    thread cannot be ended: one that hangs is left behind, and only so many may be.

    Raises:
        NotSentError: it took too long.
        Pause: too many that hang are left behind already.
    """
    call = object()
    with _guard:
        hanging = _hanging[listener]
        if len(hanging) >= MOST_HANGING:
            raise Pause(
                f"{MOST_HANGING} earlier notifications have not ended yet; no more are "
                f"begun until one has, or the agent is started anew",
                after=WHILE_HANGING,
            )
    results: queue.SimpleQueue[list[str] | Exception] = queue.SimpleQueue()

    def run() -> None:
        results.put(_quietly(send))
        with _guard:
            hanging.discard(call)

    # Daemonic: the process must be able to end while it hangs.
    threading.Thread(target=run, name=f"notify-{listener}", daemon=True).start()
    try:
        result = results.get(timeout=within)
    except queue.Empty:
        with _guard:
            if results.empty():
                hanging.add(call)
        raise NotSentError(f"it did not end within {within:g} s") from None
    if isinstance(result, Exception):
        raise result
    return result


def _failures(places: list[str], title: str, body: str, kind: str) -> Iterator[str]:
    """Send to all places; yield what to say of each that did not take it.

    Raises:
        Pause: before anything is sent, if one of the URLs is none.
    """
    # One after the other, on this thread: apprise's own threads would keep the process
    # from ending while one of them hangs.
    asset = apprise.AppriseAsset(async_mode=False, service_timeout=0)
    for number, service in enumerate(_services(places, asset), 1):
        sender = apprise.Apprise(asset=asset)
        sender.add(service)
        _statuses.get().clear()
        # As text, so that what an event says is no markup where it arrives.
        if not sender.notify(body, title, notify_type=kind, body_format="text"):
            status = f", status {_statuses.get()[-1]}" if _statuses.get() else ""
            name = service.service_name
            yield f"{name} (number {number} of {len(places)}) did not take it{status}"


def _services(places: list[str], asset: apprise.AppriseAsset) -> list[apprise.NotifyBase]:
    """Return what apprise sends with, for each of the URLs.

    Raises:
        Pause: one of them is none, or there are none.
    """
    found = [apprise.Apprise.instantiate(each, asset=asset) for each in places]
    wrong = [str(number) for number, each in enumerate(found, 1) if each is None]
    if wrong or not places:
        which = f"number {', '.join(wrong)} of {len(places)}" if wrong else "there"
        raise Pause(
            f"the urls of a notification are wrong: {which} is none that apprise knows; "
            f"see https://appriseit.com/services/",
            after=HOUR,
        )
    return [each for each in found if each is not None]


# What apprise says in its log while it sends for us

_statuses: ContextVar[list[str]] = ContextVar("statuses")
_STATUS = re.compile(r"\berror=(\d{3})\b")


def _only_status(record: logging.LogRecord) -> bool:
    """Keep our notifications out of the log, which would show credentials.

    Of what they say only an HTTP status is noted.
    """
    statuses = _statuses.get(None)
    if statuses is None:
        return True
    statuses += _STATUS.findall(record.getMessage())
    return False


for _name in ("apprise", "urllib3.connectionpool", "urllib3.util.retry"):
    logging.getLogger(_name).addFilter(_only_status)


def _quietly(send: Callable[[], list[str]]) -> list[str] | Exception:
    """Return a call's result or error; what it logs goes nowhere."""
    _statuses.set([])
    try:
        return send()
    except Pause as error:
        return error
    except BaseException as error:
        # Neither its text nor its causes: they may quote a URL.
        return NotSentError(f"apprise raised {type(error).__name__}")


def _plain(secret: Secret) -> str:
    return secret.get_secret_value() if isinstance(secret, SecretStr) else secret
