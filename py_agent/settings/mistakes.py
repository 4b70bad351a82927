"""What is wrong with a setting, in one sentence that never shows its value."""

from __future__ import annotations

import difflib
import re
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from pydantic import AliasChoices, BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core.core_schema import ErrorType

Location = tuple[Any, ...]

SHORTEST_SECRET = 3  # characters; what is shorter is part of many a word
PIECE = 4  # characters of a secret that are not to be told
UNUSABLE_TOKEN = "unusable_token"  # our own kind of mistake, whose words show no value

# Of mistakes that the library, or we, have words for.
KINDS = frozenset([*typing.get_args(ErrorType), UNUSABLE_TOKEN])

# What these say holds the value, or was written by somebody who may have put it there.
QUOTING = {"value_error", "assertion_error", "union_tag_invalid", "import_error"}


def nearest(word: str, known: Iterable[str]) -> str:
    """Return "; did you mean ...?" for the known word nearest to a wrong one, or ""."""
    names = sorted(known)
    found = difflib.get_close_matches(word, names, n=1, cutoff=0.5)
    if found:
        return f"; did you mean {found[0]}?"
    return f"; known are {', '.join(names)}" if names else ""


def misspelt(word: str, known: Iterable[str]) -> bool:
    """Return whether a word is so near to a known one that it was meant to be that."""
    return bool(difflib.get_close_matches(word, sorted(known), n=1, cutoff=0.75))


def no_key(key: str, known: Iterable[str]) -> str:
    """Return the sentence about a key that does not exist."""
    return f"there is no key {key!r}{nearest(key, known)}"


def lower(sentence: str) -> str:
    """Return a sentence as it stands after a colon."""
    return sentence[:1].lower() + sentence[1:]


def reasons(
    error: ValidationError,
    hidden: Callable[[Location], bool] = lambda _: False,
    masked: bool = True,
) -> Iterator[tuple[Location, str, str]]:
    """Yield the place, the kind and the reason of each mistake, without its value.

    Args:
        error: the library's.
        hidden: whether the value at a place is a secret. What a check of the user's own
            says of it may show it in another form, so only that it refused it is told.
        masked: whether any value may be a secret; else a sentence may quote it.
    """
    for each in error.errors(include_url=False):
        reason, location = each["msg"], tuple(each["loc"])
        if masked and each["type"] in QUOTING:
            reason = _without(reason, each["input"])
        reason = re.sub("^(Value error|Assertion failed), ", "", reason)
        own = each["type"] in QUOTING or each["type"] not in KINDS
        if own and hidden(location) and _may_show(reason, location, each["input"], hidden):
            raised = each.get("ctx", {}).get("error")
            kind = f" with {type(raised).__name__}" if raised is not None else ""
            reason = f"its own check refused it{kind}, in words that may show a secret"
        yield tuple(each["loc"]), each["type"], lower(" ".join(reason.split()))


def _without(sentence: str, value: Any) -> str:
    """Return a sentence with stars for a value, which may be a secret."""
    for text in sorted(_texts(value), key=len, reverse=True):
        if len(text) >= SHORTEST_SECRET:
            for shown in (text, repr(text)[1:-1]):
                sentence = sentence.replace(shown, "***")
    return sentence


def _may_show(
    reason: str, location: Location, value: Any, hidden: Callable[[Location], bool]
) -> bool:
    """Return whether a sentence may show a secret.

    A check of all values together speaks of many things, so its words are left out only
    if a piece of a secret is in them.
    """
    if location or not isinstance(value, Mapping):
        return True
    said = reason.casefold()
    pieces = {said[n : n + PIECE] for n in range(len(said) - PIECE + 1)}
    secrets = [each for key in value if hidden((key,)) for each in _texts(value[key])]
    return any(piece in each.casefold() for each in secrets for piece in pieces)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from _texts(each)
    elif isinstance(value, list | tuple | set | frozenset):
        for each in value:
            yield from _texts(each)
    elif value is not None and not isinstance(value, bool):
        yield str(value)


def given(content: Any, location: Location) -> Location:
    """Return the part of a location that is in the content, without names of types."""
    for depth, step in enumerate(location):
        if isinstance(content, dict) and step in content:
            content = content[step]
        elif isinstance(content, list) and isinstance(step, int) and step < len(content):
            content = content[step]
        else:
            return location[:depth]
    return location


def alternatives(found: Iterable[tuple[str, str]]) -> list[str]:
    """Return one sentence for each place, however many types would have been right.

    Args:
        found: the place and the reason of each mistake.
    """
    by_place: dict[str, dict[str, None]] = {}
    for place, reason in found:
        by_place.setdefault(place, {})[reason] = None
    return [f"{place}: {' or '.join(reasons)}" for place, reasons in by_place.items()]


def aliases(field: FieldInfo) -> list[str]:
    """Return the names besides its own under which a field is read."""
    alias = field.validation_alias
    choices = alias.choices if isinstance(alias, AliasChoices) else [alias]
    return [each for each in choices if isinstance(each, str)]


def without_unknown(
    model: type[BaseModel], values: Mapping[str, Any], at: Location = ()
) -> tuple[dict[str, Any], list[tuple[Location, str]]]:
    """Return the values without the keys that a model does not have, and those keys.

    Models inside it are looked at, too, unless they say themselves, by `extra`, what
    becomes of unknown keys; a model of pydantic would drop them in silence.

    Returns:
        The values, and for each unknown key where it stands and the sentence about it.
    """
    fields = {name: field.annotation for name, field in model.model_fields.items()}
    known = dict(fields)
    for name, field in model.model_fields.items():
        known.update(dict.fromkeys(aliases(field), fields[name]))
    kept: dict[str, Any] = {}
    unknown: list[tuple[Location, str]] = []
    for key, value in values.items():
        if key in known:
            kept[key], deeper = _inside(known[key], value, (*at, key))
            unknown += deeper
        elif model.model_config.get("extra", "forbid") == "forbid" or key[:1] == "_":
            unknown.append((at, no_key(key, fields)))
        else:
            kept[key] = value
    return kept, unknown


def _inside(
    annotation: Any, value: Any, at: Location
) -> tuple[Any, list[tuple[Location, str]]]:
    """Do `without_unknown` for the models that a value is made of."""
    inner = _model_in(annotation)
    if inner is None:
        return value, []
    model, many = inner
    if many is None and isinstance(value, dict):
        return without_unknown(model, value, at)
    unknown: list[tuple[Location, str]] = []
    if many is list and isinstance(value, list):
        items = [_inside(model, each, (*at, n)) for n, each in enumerate(value)]
        for _, deeper in items:
            unknown += deeper
        return [each for each, _ in items], unknown
    if many is dict and isinstance(value, dict):
        named = {key: _inside(model, each, (*at, key)) for key, each in value.items()}
        for _, deeper in named.values():
            unknown += deeper
        return {key: each for key, (each, _) in named.items()}, unknown
    return value, []


def _model_in(annotation: Any) -> tuple[type[BaseModel], type | None] | None:
    """Return the one model in an annotation, and whether it is in a list or dict."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation, None
    origin, inner = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (list, dict):
        found = _model_in(inner[-1])
        return (found[0], origin) if found and found[1] is None else None
    if origin in (typing.Union, types.UnionType):
        members = [each for each in inner if each is not type(None)]
        return _model_in(members[0]) if len(members) == 1 else None
    return None
