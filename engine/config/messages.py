"""Values of settings in words: what is allowed, why one was refused, and the nearest known name."""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, get_args, get_origin

import annotated_types as limits
from pydantic.fields import FieldInfo

Fields = Mapping[str, FieldInfo]  # of RunConfig


def named_values(field: FieldInfo) -> tuple[str, ...]:
    """The values of a field that has a fixed list of them."""
    kinds = _alternatives(field.annotation)
    return tuple(v for kind in kinds if get_origin(kind) is Literal for v in get_args(kind))


def describe_allowed(field: FieldInfo, options: Sequence[str] = ()) -> str:
    """The values that a field may have, in words: "a whole number from 1 to 100".

    options: the named ones.
    """
    if options:
        return " | ".join(options)
    kinds = [a for a in _alternatives(field.annotation) if a is not type(None)]
    noun = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}
    words = noun.get(kinds[0], "a table of numbers")
    bounds = {type(m): m for m in field.metadata}
    for kind, template in (
        (limits.Ge, "from {0.ge}"),
        (limits.Gt, "above {0.gt}"),
        (limits.Le, "to {0.le}"),
        (limits.Lt, "below {0.lt}"),
    ):
        if kind in bounds:
            words += " " + template.format(bounds[kind])
    return words


def describe_error(error: Mapping[str, Any], fields: Fields, options: Sequence[str] = ()) -> str:
    """One of pydantic's errors as a sentence that names setting, value and what is allowed.

    options: the named values of the setting.
    """
    if not error["loc"]:  # from a validator of the whole model, already a sentence
        return str(error["ctx"]["error"]) if "ctx" in error else error["msg"]
    name = str(error["loc"][0])
    if name not in fields:
        return describe_unknown(name, error["input"], fields)
    words = (
        "auto, cpu, cuda or cuda:N" if name == "device" else describe_allowed(fields[name], options)
    )
    guess = did_you_mean(str(error["input"]), words.split(" | ")) if " | " in words else ""
    return f"{name} = {error['input']!r}: allowed is {words}{guess}"


def describe_unknown(name: str, value: Any, fields: Fields) -> str:
    """That a setting is unknown, and the nearest one that is known."""
    guess = did_you_mean(name, fields)
    return f"{name} = {value!r}: no such setting{guess}; `python -m engine train -h` lists them"


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """ "; did you mean 'digits'?" for the known name nearest to this one, "" where none is near."""
    lower = {other.lower(): other for other in known}
    near = difflib.get_close_matches(name.lower(), lower, n=1)
    return f"; did you mean {lower[near[0]]!r}?" if near else ""


def _alternatives(annotation: Any) -> tuple[Any, ...]:
    """The alternatives of `X | None`; Literal stays whole."""
    if get_origin(annotation) in (None, Literal, tuple):
        return (annotation,)
    return get_args(annotation)
