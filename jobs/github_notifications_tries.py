"""What polls of GitHub leave to the next ones about subjects that cannot be looked up."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any

from jobs.github_notifications_names import text_at
from jobs.github_notifications_threads import News, moment_of
from py_agent import HttpError

MOST = 9  # tries before a subject is told without a look at it, over four hours at least
FIRST = timedelta(minutes=1)  # until the second try; each wait is twice the one before
LONGEST = FIRST * 2 ** (MOST - 2)
SLACK = timedelta(seconds=1)  # by which a regular run may come early
GONE = frozenset({403, 404, 410, 451})  # the subject is not for us to see, or not any more


class Tries:
    """Which subjects failed, how often, and when each is tried again.

    Args:
        kept: what the state holds, changed in place.
        now: when this poll began.
    """

    def __init__(self, kept: dict[str, Any], now: datetime) -> None:
        self.kept, self.now = kept, now

    def has(self, thread_id: str) -> bool:
        """Whether a subject has failed, and not been told since."""
        return thread_id in self.kept

    def is_due(self, thread_id: str) -> bool:
        """Whether a subject may be tried in this poll."""
        after = moment_of(text_at(self.kept.get(thread_id), "after"))
        return after is None or not self.now < after < self.now + LONGEST + SLACK

    def is_last(self, thread_id: str, error: HttpError) -> bool:
        """Whether a subject is given up with this error."""
        if _is_ours(error) or not _counts(error):
            return False
        return error.status in GONE or self._tried(thread_id) + 1 >= MOST

    def note(self, thread_id: str, error: HttpError) -> None:
        """Remember that a subject failed, if that may have been its own fault."""
        if _is_ours(error):
            return
        tried = self._tried(thread_id) + (1 if _counts(error) else 0)
        wait = FIRST * 2 ** max(0, tried - 1)
        after = (self.now + wait - SLACK).isoformat()
        self.kept[thread_id] = {"tried": tried, "after": after}

    def forget(self, thread_id: str) -> None:
        """Begin anew with a subject."""
        self.kept.pop(thread_id, None)

    def _tried(self, thread_id: str) -> int:
        kept = self.kept.get(thread_id)
        tried = kept.get("tried") if isinstance(kept, dict) else 0
        return min(max(tried, 0), MOST) if isinstance(tried, int) else 0


class ToldBare:
    """Which threads were told with what their notifications say, and up to which moment.

    Args:
        kept: what the state holds, changed in place.
    """

    def __init__(self, kept: dict[str, Any]) -> None:
        self.kept = kept

    def note(self, thread_id: str, news: News) -> None:
        """Remember that news were told, and with them all before of the same kind."""
        self.kept[f"{news.event_type} {thread_id}"] = news.at

    def covers(self, thread_id: str, news: News) -> bool:
        """Whether news, found later, are what was told already."""
        until = _moment(self.kept.get(f"{news.event_type} {thread_id}"))
        at = moment_of(news.at)
        return until is not None and at is not None and at <= until

    def forget_before(self, since: datetime) -> None:
        """Forget those of which nothing old can be found any more."""
        for key in [*self.kept]:
            until = _moment(self.kept[key])
            if until is None or until < since:
                del self.kept[key]


def is_of_all(error: HttpError) -> bool:
    """Whether an error ends the poll: the token is refused, or GitHub wants us to wait."""
    return error.status == 401 or error.retry_after is not None


def first_of(errors: Collection[HttpError]) -> HttpError:
    """Return the error that a failed poll is about."""
    return next((each for each in errors if is_of_all(each)), next(iter(errors)))


def _moment(kept: Any) -> datetime | None:
    return moment_of(kept) if isinstance(kept, str) else None


def _is_ours(error: HttpError) -> bool:
    """Whether an error is about us, and would be the same for any subject."""
    limited = error.retry_after is not None and error.status in (403, 429)
    return limited or error.status == 401


def _counts(error: HttpError) -> bool:
    """Whether a subject may be to blame; not if nothing reached GitHub, as offline."""
    return error.status is not None or error.sent or not error.transient
