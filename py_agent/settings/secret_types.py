"""Which types and fields hold secrets."""

from __future__ import annotations

import typing
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from pydantic import BaseModel, Secret, SecretBytes, SecretStr
from pydantic_settings import BaseSettings

from ..arguments import options_of
from .mistakes import aliases


def is_secret(annotation: Any, within: frozenset[Any] = frozenset()) -> bool:
    """Return whether a value of this type is a secret, or may have one in it.

    Args:
        annotation: the type.
        within: the models that this stands in, which need not be looked at again.
    """
    kind = typing.get_origin(annotation) or annotation
    if isinstance(kind, type) and issubclass(kind, SecretStr | SecretBytes | Secret):
        return True
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return kind not in within and bool(secret_fields(kind, within | {kind}))
    return any(is_secret(each, within) for each in typing.get_args(annotation))


def secret_fields(
    model: type[BaseModel], within: frozenset[Any] = frozenset()
) -> list[str]:
    """Return the names of the fields of a model that are secrets."""
    fields = model.model_fields.items()
    return [name for name, field in fields if is_secret(field.annotation, within)]


def holds_secrets(cls: type[BaseSettings], values: Mapping[str, Any]) -> bool:
    """Return whether there is a secret among the values of a settings class."""
    return any(
        key in values
        for name in secret_fields(cls)
        for key in (name, *aliases(cls.model_fields[name]))
    )


def secret_arguments(functions: Iterable[Callable[..., Any]]) -> set[str]:
    """Return the names of the arguments of jobs and listeners that are secrets."""
    found: set[str] = set()
    for function in functions:
        try:
            hints = typing.get_type_hints(function)
        except Exception:
            continue  # an annotation that means nothing here says nothing of a secret
        hints |= options_of(function).hints
        found.update(name for name, hint in hints.items() if is_secret(hint))
    return found
