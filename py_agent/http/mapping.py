"""What went wrong below, as one clear line and without secrets."""

from __future__ import annotations

import ssl

import requests
from requests import exceptions as foreign
from urllib3 import exceptions as lower

from ..errors import HttpError, HttpRefusedError
from .limits import Call
from .text import causes, excerpt, fit_to_keep

_BAD_URL = (
    foreign.InvalidURL,
    foreign.MissingSchema,
    foreign.InvalidSchema,
    lower.LocationParseError,
    lower.LocationValueError,
)


def explained(error: Exception, call: Call) -> HttpError:
    """Return our error for one of requests, urllib3 or the system.

    Args:
        error: what was caught.
        call: the try that it ended.
    """
    mapped = _mapped(error, call, f"{call.where}: " if call.where else "")
    mapped.sent = call.sent
    mapped.__cause__ = fit_to_keep(error)
    mapped.__suppress_context__ = True
    return mapped


def _mapped(error: Exception, call: Call, where: str) -> HttpError:
    found = list(causes(error))
    if call.deadline.left() <= 0 or any(map(_is_timeout, found)):
        return HttpError(
            f"{where}no whole answer in time (timeout={call.deadline.limit:g} seconds)",
            transient=True,
        )
    if isinstance(error, foreign.InvalidHeader):
        return HttpError(f"{where}a header of the request or of the answer is malformed")
    if isinstance(error, foreign.InvalidJSONError):
        return HttpError(f"{where}what was to be sent has no JSON form")
    if isinstance(error, _BAD_URL):
        return HttpRefusedError(f"{where}the URL is no http or https URL")
    if isinstance(error, foreign.TooManyRedirects):
        return HttpError(f"{where}more than 5 redirects")
    if any(isinstance(each, ssl.SSLCertVerificationError) for each in found):
        return HttpError(
            f"{where}the server's certificate is not trusted ({_reason(found)}); for a "
            f'certificate of your own pass verify="/path/to/ca.pem"'
        )
    if isinstance(error, (requests.ConnectionError, foreign.ChunkedEncodingError)):
        return HttpError(f"{where}the connection failed: {_reason(found)}", transient=True)
    if isinstance(error, (lower.HTTPError, OSError)):
        return HttpError(f"{where}the connection broke: {_reason(found)}", transient=True)
    return HttpError(f"{where}the request or its answer cannot be read")


def _is_timeout(error: BaseException) -> bool:
    if isinstance(error, lower.NewConnectionError):
        return False  # which urllib3 counts among them
    kinds = (TimeoutError, lower.TimeoutError, requests.Timeout)
    return isinstance(error, kinds)


def _reason(found: list[BaseException]) -> str:
    """Return the innermost text that says something."""
    for each in reversed(found):
        if isinstance(each, ssl.SSLCertVerificationError):
            return excerpt(each.verify_message or "it does not fit")
    if any(str(each).startswith("Connection refused by Responses") for each in found):
        return "the test's fake of HTTP has no answer for this URL"
    for each in reversed(found):
        told = getattr(each, "strerror", None) or str(each)
        if told and "?" not in told and "@" not in told:
            return excerpt(told)
    return "no reason is known"
