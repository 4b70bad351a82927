"""The answer to a request: requests' own response, with our errors and stricter JSON."""

from __future__ import annotations

import json
import math
from typing import Any

import requests
from requests.utils import get_encoding_from_headers

from ..errors import HttpError
from .secrets import hide_secrets
from .text import excerpt, shown_url
from .waits import is_worth_retrying


class Answer(requests.Response):
    """A response whose body has been read.

    Args:
        retry_after: seconds after which the server wants to be asked again, None when it
            did not say.
    """

    retry_after: float | None = None

    @property
    def ok(self) -> bool:
        """Whether the status is no error."""
        return self.status_code < 400

    def raise_for_status(self) -> None:
        """Raise an error if the status is one.

        Raises:
            HttpError: the status is 400 or more; with the beginning of the body.
        """
        if self.ok:
            return
        # A server may well quote what it was sent.
        said = excerpt(hide_secrets(self.text[:1_000], self.request))
        raise HttpError(
            f"{self._what()}: status {self.status_code} {excerpt(str(self.reason or ''))}"
            f"{': ' if said else ''}{said}",
            status=self.status_code,
            retry_after=self.retry_after,
            transient=is_worth_retrying(self.status_code, self.retry_after),
            sent=True,
        )

    def json(self, **options: Any) -> Any:
        """Return the body as JSON (RFC 8259: UTF-8 unless the headers say otherwise).

        Args:
            options: what `json.loads` takes.

        Raises:
            HttpError: it is no JSON, or in another charset than it says.
        """
        hooks: dict[str, Any] = {"parse_constant": _refuse, "parse_float": _finite}
        try:
            return json.loads(self._characters(), **hooks | options)
        except (ValueError, LookupError) as error:
            raise self._no_json(excerpt(str(error))) from error
        except RecursionError as error:
            raise self._no_json("it is nested too deeply") from error

    def _no_json(self, problem: str) -> HttpError:
        kind = excerpt(self.headers.get("Content-Type", "no content type"))
        return HttpError(
            f"{self._what()}: the answer ({self.status_code}, {kind}) is not JSON: "
            f"{problem}",
            status=self.status_code,
        )

    def _characters(self) -> str:
        """Return the body as text, without guessing and without losing a character."""
        body = self.content or b""
        declared = "charset" in self.headers.get("Content-Type", "").lower()
        if not declared and self.encoding == get_encoding_from_headers(self.headers):
            name: str = json.detect_encoding(body)
        else:
            name = self.encoding or "utf-8"
        return body.decode(name).removeprefix("\ufeff")

    def _what(self) -> str:
        return f"{self.request.method} {shown_url(self.url)}"


def _refuse(constant: str) -> float:
    raise ValueError(f"{constant} is not JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("it holds a number that is too large")
    return number
