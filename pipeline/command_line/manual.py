"""A stage's manual, from what the stage says of itself: docstring, contract, parameters with their limits."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pipeline import registry
from pipeline.contract import contract_of, role_of
from pipeline.errors import UserError
from pipeline.hints import did_you_mean

_LIMITS = {
    "minimum": "{} or more",
    "exclusiveMinimum": "more than {}",
    "maximum": "{} at most",
    "exclusiveMaximum": "less than {}",
    "pattern": "like {}",
}
"""What JSON schema calls a limit, and the words for it."""

_KINDS = {"number": "float", "integer": "int", "boolean": "bool", "string": "str", "array": "tuple"}


class Parameter(NamedTuple):
    """One parameter: its type as one writes it, its default as Python writes it ("" where there is none), limits, meaning, and
    the lines of its keys if it is a map."""

    name: str
    kind: str
    default: str
    limits: str
    meaning: str
    keys: tuple[str, ...] = ()


def manual(name: str) -> str:
    """One stage's manual as plain text.

    >>> print(manual("graph/join").splitlines()[0])
    graph/join
    """
    cls = registry.load(name)
    lines = [name, "=" * len(name), "", inspect.getdoc(cls) or "", ""]
    role = role_of(cls)
    if role == "stage":
        contract = contract_of(cls)
        reads = [k.__name__ + (" (if there is one)" if k in contract.optional else "") for k in contract.reads]
        lines += [
            f"reads   {', '.join(reads) or '-'}",
            f"writes  {', '.join(k.__name__ for k in contract.writes) or '-'}",
        ]
    else:
        lines.append(f"It is a {role}.")
    parameters = sorted(
        parameters_of(cls), key=lambda parameter: bool(parameter.default)
    )  # those without default first
    lines += ["", "parameters" if parameters else "no parameters"]
    for parameter in parameters:
        default = f" = {parameter.default}" if parameter.default else "  (must be given)"
        limits = f"  ({parameter.limits})" if parameter.limits else ""
        lines.append(f"  {parameter.name}: {parameter.kind}{default}{limits}")
        lines += [f"      {line}" for line in (parameter.meaning, *parameter.keys) if line]
    return "\n".join(lines)


def table_of_stages(kind: str = "") -> str:
    """All stages, or those of one kind, each with the first line of its docstring."""
    known = registry.names()
    kinds = {name.partition("/")[0] for name in known}
    if kind and kind not in kinds:
        raise UserError(f"there is no kind of stage {kind!r}" + did_you_mean(kind, kinds))
    names = [name for name in known if not kind or name.startswith(f"{kind}/")]
    width = max(map(len, names), default=0)
    firsts = [(inspect.getdoc(registry.load(name)) or "").partition("\n")[0] for name in names]
    return "\n".join(f"{name:{width}}  {first}".rstrip() for name, first in zip(names, firsts, strict=True))


def limits(schema: Mapping[str, Any]) -> str:
    """Say what a JSON schema of a value allows.

    >>> limits({"anyOf": [{"type": "number", "exclusiveMinimum": 0, "maximum": 1}, {"type": "null"}]})
    'more than 0, 1 at most'
    """
    found = [words.format(schema[key]) for key, words in _LIMITS.items() if key in schema]
    for other in schema.get("anyOf", ()):
        found += [limits(other)] if limits(other) else []
    return ", ".join(found)


def parameters_of(cls: Any) -> Iterator[Parameter]:
    """All parameters of a stage, in the order of its fields."""
    from pydantic import TypeAdapter
    from pydantic.fields import FieldInfo

    schema = TypeAdapter(cls).json_schema()
    described = schema.get("properties", {})
    for field in dataclasses.fields(cls):
        default: Any = field.default
        if isinstance(default, FieldInfo):
            default = dataclasses.MISSING if default.is_required() else default.get_default(call_default_factory=True)
        if field.default_factory is not dataclasses.MISSING:
            default = field.default_factory()
        text = "" if default is dataclasses.MISSING else repr(str(default) if isinstance(default, Path) else default)
        of_field = described.get(field.name, {})
        keys = tuple(_keys(of_field, schema.get("$defs", {})))
        kind = "a map" + (" | None" if default is None else "") if keys else _type_name(field.type)
        yield Parameter(field.name, kind, text, limits(of_field), of_field.get("description", ""), keys)


def _keys(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> Iterator[str]:
    """A line for each key of a value that is a map."""
    for variant in (schema, *schema.get("anyOf", ())):
        definition = definitions.get(str(variant.get("$ref", "")).rpartition("/")[2], {})
        for name, of_key in definition.get("properties", {}).items():
            kinds = [
                one.get("type") for one in (of_key, *of_key.get("anyOf", ())) if one.get("type") not in (None, "null")
            ]
            words = ", ".join(filter(None, [" or ".join(_KINDS.get(kind, kind) for kind in kinds), limits(of_key)]))
            yield f"{name} ({words}): {of_key.get('description', '')}"


def _type_name(kind: Any) -> str:
    """A parameter's type as one writes it, without what stands beside it in ``Annotated``."""
    if isinstance(kind, str):
        return kind.removeprefix("Annotated[").partition(", Field(")[0] if kind.startswith("Annotated[") else kind
    if hasattr(kind, "__metadata__"):
        kind = kind.__origin__
    return (
        kind.__name__ if isinstance(kind, type) and not hasattr(kind, "__args__") else str(kind).replace("typing.", "")
    )
