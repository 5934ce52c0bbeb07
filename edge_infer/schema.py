"""Strict conversion between frozen dataclasses and plain JSON or TOML values.

Bundle manifests and training recipes share it, so an unknown key or a wrong type is reported the same way everywhere.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import math
import types
import typing
from collections.abc import Hashable, Mapping
from typing import Any, TypeVar

T = TypeVar("T")


class SchemaError(ValueError):
    """A value does not fit the dataclass; the message names the key's full path."""


@functools.cache
def _type_hints(cls: Hashable) -> dict[str, Any]:
    return typing.get_type_hints(cls)


def parse(cls: type[T], data: object, where: str = "") -> T:
    """Builds the dataclass `cls` from plain values.

    Args:
        cls: a dataclass whose fields are str, int, float, bool, `Any`, `Literal`, optional values, homogeneous tuples,
            `dict[str, X]`, or dataclasses of these.
        data: a mapping as `json` or `tomllib` returns it.
        where: path of `data` in the document, for messages.

    Raises:
        SchemaError: a key is unknown (the message names the nearest known one) or missing, a value has the wrong type,
            or a number is not finite.
    """
    if not isinstance(data, Mapping):
        raise SchemaError(f"{where or 'document'}: expected a table, got {type(data).__name__}")
    hints = _type_hints(typing.cast(Hashable, cls))
    fields = {field.name: field for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    for key in data:
        if key not in fields:
            near = difflib.get_close_matches(str(key), fields, n=1)
            hint = f"did you mean '{near[0]}'?" if near else f"known keys: {', '.join(sorted(fields))}"
            raise SchemaError(f"{_join(where, key)}: unknown key; {hint}")
    values: dict[str, Any] = {}
    for name, field in fields.items():
        if name in data:
            values[name] = _convert(hints[name], data[name], _join(where, name))
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise SchemaError(f"{_join(where, name)}: missing")
    return cls(**values)


def dump(value: object) -> Any:
    """The inverse of `parse`: dataclasses become dicts and tuples become lists, recursively."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: dump(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {key: dump(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [dump(item) for item in value]
    return value


def _join(where: str, key: object) -> str:
    return f"{where}.{key}" if where else str(key)


def _convert(hint: Any, value: Any, where: str) -> Any:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return value
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in args:
            return None
        options = [arg for arg in args if arg is not type(None)]
        if len(options) == 1:
            return _convert(options[0], value, where)
        for option in options:
            try:
                return _convert(option, value, where)
            except SchemaError:
                continue
        raise SchemaError(f"{where}: {value!r} fits none of {hint}")
    if origin is typing.Literal:
        if value not in args:
            near = difflib.get_close_matches(str(value), [str(arg) for arg in args], n=1)
            hint_text = f"; did you mean '{near[0]}'?" if near else ""
            raise SchemaError(f"{where}: {value!r} is not one of {', '.join(map(repr, args))}{hint_text}")
        return value
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise SchemaError(f"{where}: expected a list, got {type(value).__name__}")
        if args[-1] is Ellipsis:
            return tuple(_convert(args[0], item, f"{where}[{i}]") for i, item in enumerate(value))
        if len(value) != len(args):
            raise SchemaError(f"{where}: expected {len(args)} values, got {len(value)}")
        return tuple(
            _convert(arg, item, f"{where}[{i}]") for i, (arg, item) in enumerate(zip(args, value, strict=True))
        )
    if origin is dict:
        if not isinstance(value, Mapping):
            raise SchemaError(f"{where}: expected a table, got {type(value).__name__}")
        return {str(key): _convert(args[1], item, _join(where, key)) for key, item in value.items()}
    if dataclasses.is_dataclass(hint):
        return parse(typing.cast(type, hint), value, where)
    if hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        if not math.isfinite(value):
            raise SchemaError(f"{where}: {value!r} is not a finite number")
        return float(value)
    if isinstance(value, hint) and not (hint is int and isinstance(value, bool)):
        return value
    raise SchemaError(f"{where}: expected {hint.__name__}, got {value!r}")
