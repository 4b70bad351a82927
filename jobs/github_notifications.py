"""A job that tells what GitHub wants of you: reviews, issues, answers to mentions."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import timedelta
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import Field

from jobs.github_notifications_api import HOME, WHERE, Api, GithubSettings, date_in, written
from jobs.github_notifications_names import teams_of, text_at
from jobs.github_notifications_threads import (
    PULL,
    REASONS,
    Me,
    News,
    Thread,
    bare_news,
    data_of,
    is_wanted,
    may_tell,
    moment_of,
    news_of,
    thread_of,
    waits_of,
)
from jobs.github_notifications_tries import (
    GONE,
    SLACK,
    ToldBare,
    Tries,
    first_of,
    is_of_all,
)
from py_agent import EventError, Handler, HttpError, pages_of

__all__ = ["GithubSettings", "github_notifications"]

Reason = Literal["review_requested", "assign", "mention", "team_mention"]

PER_PAGE = 50  # notifications; GitHub gives no more
PAGES = 100  # of notifications at most
MOST_FAILED = 3  # subjects of one poll that may fail before it is given up
MAX_SKIP = timedelta(hours=1)  # no poll is left out for longer
UNASKED = timedelta(hours=1)  # for which a list is not read, if it is said to be unchanged
SETTLED = timedelta(seconds=5)  # what is younger may change again and keep its date
KNOWN = timedelta(days=1)  # for which a login is not looked up again
MONTH = 2_592_000.0


def github_notifications(
    handler: Handler,
    settings: GithubSettings,
    *,
    reasons: list[Reason] | None = None,
    repos: list[str] | None = None,
    ignore_repos: list[str] | None = None,
    lookback: Annotated[float, Field(ge=0, le=MONTH)] = 86_400,
) -> None:
    """Publish requests for reviews, assigned issues, and mentions, each once.

    Notifications that you have read already are found as well. One that is told again
    with every comment, as GitHub does, is no new event: what counts is the request, the
    assignment or the comment itself, which is looked up in the timeline of the issue or
    pull request. If a review is requested again, that is a new event.

    An unchanged list costs GitHub nothing (Last-Modified, ETag); once an hour it is read
    all the same. A subject is looked up only when its notification has changed, with two
    requests for an issue and three for a pull request; with none if GitHub says that you
    only watch the repository (`subscribed`). Your name is asked for once a day.
    `X-Poll-Interval` is obeyed: a run that comes too early does nothing. So are the rate
    limits: the next run waits as long as GitHub asks for.

    Publishes:
        `new_pr_review`: a review of a pull request was requested from you, or from a team
        of yours. Identifier: the URL of the request, as
        `https://github.com/octo/shop/pull/7#event-12345`.

        `new_issue_assigned`: an issue was assigned to you. Identifier: likewise,
        `https://github.com/octo/shop/issues/8#event-12346`.

        `new_github_at_mention`: somebody wrote to you or a team of yours with an @, and
        not within code. Identifier: the URL of the comment, as
        `https://github.com/octo/shop/issues/8#issuecomment-99`.

        The data is, for example, `{"repo": "octo/shop", "kind": "PullRequest", "number":
        7, "title": "Add a basket", "url": "https://github.com/octo/shop/pull/7",
        "author": "ann", "state": "open", "labels": ["bug"], "by": "ann",
        "at": "2026-01-05T12:00:00Z"}`: `by` is who asked, assigned or wrote. Of a mention
        the `url` is that of the comment, and `text` its first thousand characters.

        What cannot be looked up, as it is private, gone, or no issue and no pull request
        (a discussion, a commit), is told once with what the notification says; then
        `author`, `state` and `by` are empty. So is a subject that fails nine times in
        four hours or more; meanwhile the others are told.

    Args:
        handler: fetches and publishes.
        settings: the token, and where GitHub is.
        reasons: what is told, of `review_requested`, `assign`, `mention` and
            `team_mention`; all of them if not given.
        repos: patterns of repositories as `octo/*`; if given, no others are told.
        ignore_repos: patterns of repositories that are not told.
        lookback: seconds that each poll looks back before the one before, so that late
            notifications and wrong clocks lose nothing; 30 days at most. The very first
            one looks back as far from now.

    Raises:
        HttpError: GitHub could not be asked, refuses the token, or wants us to wait; or
            a subject could not be looked up.
        ValueError: the answer holds no notification at all.
    """
    wanted = REASONS if reasons is None else reasons
    poll = _Poll(handler, settings, wanted, timedelta(seconds=lookback))
    if poll.is_too_early():
        return
    threads = [
        each for each in poll.threads()
        if may_tell(each, wanted) and is_wanted(each.repo, repos or (), ignore_repos or ())
    ]  # fmt: skip
    poll.tell(threads)


class _Poll:
    """One poll: what it knows from the one before, and leaves to the next."""

    def __init__(
        self,
        handler: Handler,
        settings: GithubSettings,
        reasons: Collection[str],
        lookback: timedelta,
    ) -> None:
        self.handler, self.state = handler, handler.state
        self.api = Api(handler, settings)
        self.now, self.lookback = handler.window.until, lookback
        self.next = dict[str, Any]()  # what is remembered once all is told
        self.since = (moment_of(text_at(self.state, "asked")) or self.now) - lookback
        self.me = Me("", lambda: self._teams, reasons)
        self.seen: dict[str, str] = self.state.setdefault("seen", {})
        self.tries = Tries(self.state.setdefault("failed", {}), self.now)
        self.bare = ToldBare(self.state.setdefault("bare", {}))

    def is_too_early(self) -> bool:
        """Whether GitHub asked not to be asked before some later time."""
        after = moment_of(text_at(self.state, "not_before"))
        if after is None or not self.now < after < self.now + MAX_SKIP + SLACK:
            return False
        moment = f"{after:%H:%M:%S} UTC"
        self.handler.log.info("GitHub asks not to be asked before %s", moment)
        return True

    def threads(self) -> list[Thread]:
        """Return the notifications; none if nothing has changed since the last poll.

        Raises:
            HttpError: they could not be had.
            ValueError: there are some, but not one can be read.
        """
        query = {"all": "true", "since": written(self.since), "per_page": PER_PAGE}
        url = self.api.url("notifications", **query)
        items = list[Any]()
        for page in pages_of(self._list, url, PAGES, unread=self._warn):
            items += page.items("")
        found = [thread for item in items if (thread := thread_of(item))]
        if len(found) < len(items):
            problem = (
                f"{len(items) - len(found)} of {len(items)} notifications cannot be read"
            )
            if not found:
                raise ValueError(f"{self.api.shown}: {problem}")
            self._warn(f"{problem}, and are left out")
        return found

    def _list(self, url: str) -> Any:
        """Return a page of notifications; None if the first one is as it was."""
        first = not self.next
        answer = self.api.get(url, self._conditions() if first else {})
        if first:
            self._note(answer)
        if answer.status_code in (403, 404):
            other = self.api.home != HOME
            elsewhere = "; or is api_url in [github] wrong?" if other else ""
            raise HttpError(
                f"{self.api.shown}: the token may not read notifications (status "
                f"{answer.status_code}); {WHERE}; fine-grained tokens never may"
                f"{elsewhere}",
                answer.status_code,
            )
        return None if answer.status_code == 304 else answer

    def _conditions(self) -> dict[str, str]:
        """Return the headers that ask for a list only if it has changed.

        Once in a while there are none: where GitHub compares Last-Modified alone, what
        came late would stay hidden behind it for ever.
        """
        read = moment_of(text_at(self.state, "read"))
        longest = min(self.lookback / 2, UNASKED)
        if read is None or not timedelta() <= self.now - read < longest:
            return {}
        known: dict[str, str] = self.state.get("validators", {})
        return known

    def _note(self, answer: Any) -> None:
        """Remember what the first answer says of time: theirs, as our clock may be off."""
        theirs = date_in(answer) or self.now
        self.next["asked"] = written(theirs)
        wait = timedelta(seconds=waits_of(answer.headers))
        self.next["not_before"] = (self.now + wait - SLACK).isoformat()
        names = {"ETag": "If-None-Match", "Last-Modified": "If-Modified-Since"}
        found = {
            asks: answer.headers[name] for name, asks in names.items()
            if answer.headers.get(name)
        }  # fmt: skip
        if answer.status_code == 304:
            return
        newest = date_in(answer, "Last-Modified")
        settled = newest is None or newest <= theirs - SETTLED
        self.next["validators"] = found if settled else {}
        self.next["read"] = self.now.isoformat()

    def tell(self, threads: list[Thread]) -> None:
        """Publish what is new in some threads; one that fails does not stop the others.

        Raises:
            HttpError: a thread could not be looked up. A later poll looks at that one
                again, and at what has changed.
        """
        changed = [
            each for each in reversed(threads) if self.seen.get(each.id) != each.updated
        ]
        due = [each for each in changed if self.tries.is_due(each.id)]
        if any(each.is_discussed for each in due):
            self.me = self.me._replace(login=self._login())
        # Listeners get the oldest first; but what failed before stops nobody.
        due.sort(key=lambda each: (self.tries.has(each.id), moment_of(each.updated)))
        problems = list[HttpError]()
        for thread in due:
            try:
                self._tell(thread)
            except HttpError as error:
                self.tries.note(thread.id, error)
                problems.append(error)
                if is_of_all(error) or len(problems) >= MOST_FAILED:
                    break
        if problems:
            self.state["not_before"] = self.next["not_before"]
            self.handler.checkpoint()
            raise first_of(problems)
        self._settle(threads, len(changed) > len(due))

    def _settle(self, threads: list[Thread], waiting: bool) -> None:
        """Remember for the next poll that all was told but what waits for another try."""
        if waiting:
            self.state["not_before"] = self.next["not_before"]
            return
        if "validators" in self.next:  # the list has changed, so it is known as a whole
            listed = {thread.id for thread in threads}
            self.state["seen"] = {key: self.seen[key] for key in self.seen if key in listed}
            self.state["failed"] = {}
        self.bare.forget_before(self.since)
        self.state |= self.next

    def _login(self) -> str:
        """Return my name, which is asked for once a day."""
        known = self.state.get("me")
        at = moment_of(text_at(known, "at"))
        if text_at(known, "account") == self.api.account and at is not None:
            if timedelta() <= self.now - at < KNOWN:
                return text_at(known, "login")
        login, at = self.api.login(), self.now
        self.state["me"] = {
            "account": self.api.account, "login": login, "at": at.isoformat(),
        }  # fmt: skip
        return login

    def _tell(self, thread: Thread) -> None:
        """Publish what is new in a thread, and remember that.

        Raises:
            HttpError: it could not be looked up, and is to be tried again.
        """
        try:
            found = list(self._news(thread)) if thread.is_discussed else None
        except HttpError as error:
            if not self.tries.is_last(thread.id, error):
                raise
            self._tell_bare(thread, error)
        else:
            if found is None:
                self._tell_bare(thread, None)
            for news, subject in found or ():
                if not self.bare.covers(thread.id, news):
                    self._publish(news, thread, subject)
        self.tries.forget(thread.id)
        updated, theirs = moment_of(thread.updated), moment_of(self.next["asked"])
        if updated and theirs and updated <= theirs - SETTLED:
            self.seen[thread.id] = thread.updated

    def _news(self, thread: Thread) -> Iterator[tuple[News, Any]]:
        """Yield what is new about an issue or pull request, and that itself."""
        place = f"repos/{thread.repo}/issues/{thread.number}"
        items = self.api.last_items(f"{place}/timeline", self.since)
        pull = f"repos/{thread.repo}/pulls/{thread.number}"
        if thread.kind == PULL and {"mention", "team_mention"} & {*self.me.reasons}:
            items += self.api.items(f"{pull}/comments", since=written(self.since))
        subject = self.api.object(pull if thread.kind == PULL else place)
        for news in news_of(thread, self.me, items, subject, self.since):
            yield news, subject

    def _tell_bare(self, thread: Thread, error: HttpError | None) -> None:
        """Publish what a notification alone tells; with the reason if that is all."""
        news = bare_news(thread, self.me.reasons)
        told = news is not None and self._publish(news, thread, None)
        if error is None:
            return
        if news is not None and told:
            self.bare.note(thread.id, news)
            self._warn(
                f"{thread.name} is told with what its notification says, as it cannot be "
                f"looked up; a private one needs a token with the scope `repo`: {error}"
            )
        elif error.status not in GONE:
            self._warn(f"{thread.name} is left out, as it cannot be looked up: {error}")

    def _publish(self, news: News, thread: Thread, subject: Any) -> bool:
        data = data_of(news, thread, subject)
        try:
            return bool(self.handler.publish(news.event_type, news.identifier, data))
        except EventError as error:
            self._warn(f"{thread.name} is left out: {error}")
            return False

    def _warn(self, sentence: str) -> None:
        self.handler.log.warning("%s", sentence)

    @cached_property
    def _teams(self) -> Collection[str] | None:
        """My teams; None if the token may not know them."""
        try:
            return teams_of(self.api.items("user/teams"))
        except HttpError as error:
            if error.retry_after is None and error.status in GONE:
                return None
            raise
