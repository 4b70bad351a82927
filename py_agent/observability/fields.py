"""The types of fields: the rules of `values` as pydantic asks for them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    PlainValidator,
    ValidationInfo,
    model_validator,
)
from pydantic_core import PydanticCustomError

from . import links, numbers, values

Fault = tuple[str, str]  # the field, and what is wrong with it


@dataclass
class Check:
    """One check of a payload: what it tells, and whether the list may be any length."""

    notices: list[str] = field(default_factory=list)
    any_length: bool = False


def check_of(info: ValidationInfo) -> Check:
    """Return the check that a validator works for; a model may also be used without."""
    return info.context if isinstance(info.context, Check) else Check()


def fault(reason: str, at: str = "") -> PydanticCustomError:
    """Return the error that says what is wrong with a value, or with a field of it."""
    return faults([(at, reason)])


def faults(found: list[Fault]) -> PydanticCustomError:
    """Return the error of several fields of one object."""
    return PydanticCustomError("faults", "not right", {"faults": found})


def _asking(rule: Callable[[Any], Any]) -> PlainValidator:
    """Return the validator of a rule that tells nothing."""

    def check(value: Any) -> Any:
        try:
            return rule(value)
        except ValueError as error:
            raise fault(str(error)) from error

    return PlainValidator(check)


def _telling(rule: Callable[[Any], tuple[Any, str]], told: bool = True) -> PlainValidator:
    """Return the validator of a rule that tells what it mended, if that is told."""

    def check(value: Any, info: ValidationInfo) -> Any:
        try:
            wire, notice = rule(value)
        except ValueError as error:
            raise fault(str(error)) from error
        if notice and told:
            check_of(info).notices.append(f"{info.field_name} {notice}")
        return wire

    return PlainValidator(check)


def _or_null(rule: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda value: None if value is None else rule(value)


def _or_null_telling(
    rule: Callable[[Any], tuple[Any, str]],
) -> Callable[[Any], tuple[Any, str]]:
    return lambda value: (None, "") if value is None else rule(value)


def _text(least: int, most: int | None, plain: bool = False) -> Callable[[Any], str]:
    return lambda value: values.text(value, least, most, plain)


def choice(*words: str) -> PlainValidator:
    """Return the validator of a field that chooses from words."""
    return _asking(lambda value: values.choice(value, words))


def as_list(value: Any) -> list[Any]:
    """Return a list as it is and a tuple as a list, as JSON has it.

    Raises:
        PydanticCustomError: it is neither.
    """
    if not isinstance(value, (list, tuple)):
        raise fault(f"must be a list, not {values.kind(value)}")
    return list(value)


A_LIST = BeforeValidator(as_list)

Text = Annotated[str, _asking(_text(1, None))]
TextOrNull = Annotated[str | None, _asking(_or_null(_text(1, None)))]
AnyTextOrNull = Annotated[str | None, _asking(_or_null(_text(0, None)))]
Path = Annotated[str | None, _asking(_or_null(_text(1, 4096)))]
# Names and keys have columns of their own in the server's tables.
Word = Annotated[str, _asking(_text(0, 255, plain=True))]
Key = Annotated[str, _asking(_text(1, 255, plain=True))]
KeyOrNull = Annotated[str | None, _asking(_or_null(_text(1, 255, plain=True)))]
LongName = Annotated[str | None, _asking(_or_null(_text(1, 1024, plain=True)))]
Name = Annotated[str, _asking(_text(1, None, plain=True))]
NameOrNull = Annotated[str | None, _asking(_or_null(_text(1, None, plain=True)))]

Number = Annotated[int | float | str, _asking(numbers.number)]
NumberOrNull = Annotated[int | float | str | None, _asking(_or_null(numbers.number))]
NumberOrText = Annotated[int | float | str, _asking(numbers.number_or_text)]
WholeOrNull = Annotated[int | None, _asking(_or_null(numbers.whole))]
YesNoOrNull = Annotated[bool | None, _asking(_or_null(values.yes_no))]
One = Annotated[int, _asking(values.one)]
Uuid = Annotated[str, _asking(values.uuid)]

Time = Annotated[str, _telling(values.time, told=False)]
TimeOrNull = Annotated[str | None, _telling(_or_null_telling(values.time), told=False)]
ToldTimeOrNull = Annotated[str | None, _telling(_or_null_telling(values.time))]
Tool = Annotated[str | None, _telling(_or_null_telling(values.tool))]
Link = Annotated[str | None, _telling(_or_null_telling(links.link))]
Metadata = Annotated[dict[str, Any], _asking(values.metadata)]
MetadataOrNull = Annotated[dict[str, Any] | None, _asking(_or_null(values.metadata))]


class Part(BaseModel):
    """An object of the contract: no unknown fields, and rules about several fields.

    A model's name of a field is the contract's; `schema` is one of them, so names are
    not kept from shadowing what pydantic calls its own.
    """

    model_config = ConfigDict(extra="forbid", protected_namespaces=())

    def rules(self) -> Iterator[Fault]:
        """Yield what is wrong between fields that are each right by themselves."""
        return iter(())

    @model_validator(mode="before")
    @classmethod
    def _object(cls, value: Any) -> dict[str, Any]:
        """Refuse what is no object, and name its keys so that they can be shown."""
        if value is None:
            raise fault("must be an object, not null")
        if not isinstance(value, dict):
            raise fault(f"must be an object, not {values.kind(value)}", at="_schema")
        return {values.shown(key): each for key, each in value.items()}

    @model_validator(mode="after")
    def _together(self) -> Part:
        found = list(self.rules())
        if found:
            # Those that are about one field come first: they say what to mend.
            raise faults(sorted(found, key=lambda each: each[0] == "_schema"))
        return self
