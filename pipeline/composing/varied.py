"""Ways of doing one node's work, each with a name that people can read: what ``variants:`` and ``graph.vary`` say.

A way is the node changed: with other parameters, with another stage, or as it is. With another stage, those parameters are kept
that both have and that are not at their defaults; whoever wants none of them gives a stage itself, in Python. A parameter with
a list of values stands for a way with each, unless it is one that takes a list.

>>> from pipeline.stage import stage
>>> @stage("numbers/doctest_above")
... class Above:
...     '''Numbers above a threshold.'''
...     threshold: float = 1.0
...     def __call__(self, found: list) -> list:
...         return [number for number in found if number > self.threshold]
>>> [way.name for way in ways_of(Above(), [{"threshold": [10, 20]}, {}])]
['threshold=10', 'threshold=20', 'threshold=1']
"""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydantic

from pipeline import registry
from pipeline.errors import UserError
from pipeline.hints import did_you_mean
from pipeline.parameters import ParameterError, changed, default_of, names_of
from pipeline.paths import read_from

LONGEST_WAY = 60
"""Characters of a way's name; it stands in names of files."""


@dataclass(frozen=True)
class Way:
    """One way of doing a node's work."""

    name: str
    stage: Any


@dataclass(frozen=True)
class Varied:
    """A node that is varied, and the ways of doing its work."""

    node: str
    ways: tuple[Way, ...]


def ways_of(own: Any, specs: Any, folder: Path | None = None) -> tuple[Way, ...]:
    """Return the ways that are meant, named by what tells them apart.

    Parameters
    ----------
    own
        The stage that the node has.
    specs
        One or several of: a stage, a stage's name (``"words/longest"``, or ``"longest"`` for one of its kind), parameters to
        change, with the key ``stage`` for another stage and the key ``name`` for what the way is to be called. One alone is
        compared with the node as it is.
    folder
        From where files that are read are named; None for where the program runs.

    Raises
    ------
    UserError
        There is no such stage or parameter, a value is wrong, or two ways are the same.
    """
    if isinstance(specs, str | Mapping) or not isinstance(specs, Iterable):
        specs = [specs]
    found = [way for spec in specs for way in _ways_of(own, spec, folder)]
    if len(found) == 1 and found[0].stage != own:
        found.insert(0, Way("", own))
    return named(found)


def with_values(
    own: Any, ways: Sequence[Way], parameters: Mapping[str, Any], folder: Path | None = None
) -> tuple[Way, ...]:
    """Return the ways with each of several values of a parameter; those whose stages do not have it stay as they are.

    Of a node that is not varied yet, which has no `ways`, its `own` stage has each of the values.
    """
    if not ways:
        return ways_of(own, parameters, folder)
    for name in parameters:
        if not any(name in names_of(way.stage) for way in ways):
            known = sorted({known for way in ways for known in names_of(way.stage)})
            raise UserError(f"none of the ways has a parameter {name!r}" + did_you_mean(name, known))
    found = []
    for way in ways:
        has = {name: value for name, value in parameters.items() if name in names_of(way.stage)}
        found += list(_ways_of(way.stage, has, folder)) if has else [Way("", way.stage)]
    return named(found)


def named(ways: Sequence[Way]) -> tuple[Way, ...]:
    """Name the ways that have no name yet by their stage and parameters, as far as these tell them apart."""
    stages = {way.stage.stage_name for way in ways}
    names: list[str] = []
    for number, way in enumerate(ways):
        same = [index for index, other in enumerate(ways) if other.stage == way.stage]
        if same[0] != number:
            what = way.name or way.stage.stage_name
            raise UserError(f"two ways are the same ({what}): what they find would be, too; leave one of them out")
        alike = [other.stage for other in ways if type(other.stage) is type(way.stage)]
        differing = [
            name
            for name in names_of(way.stage)
            if any(getattr(other, name) != getattr(way.stage, name) for other in alike)
        ]
        which = way.stage.stage_name.partition("/")[2]
        words = [which] if len(stages) > 1 or not differing else []
        words += [f"{name}={_short(getattr(way.stage, name))}" for name in differing]
        names.append(_tidy(way.name or "-".join(words)))
    return tuple(
        Way(name if names.count(name) == 1 else f"{name}_{number + 1}", way.stage)
        for number, (name, way) in enumerate(zip(names, ways, strict=True))
    )


def given_names(ways: Sequence[Way]) -> list[str]:
    """Return the names that ways were given, ``""`` for those that are called by what tells them apart."""
    usual = named([Way("", way.stage) for way in ways])
    return ["" if way.name == other.name else way.name for way, other in zip(ways, usual, strict=True)]


def dumped(varied: Varied, own: Any, parameters_of: Any) -> list[dict[str, Any]]:
    """Return what YAML says of the ways; those that differ in one parameter alone share an entry.

    `parameters_of` gives a stage's parameters that are not at their defaults, as plain values.
    """
    entries: list[dict[str, Any]] = []
    of_node = parameters_of(own)
    for way, name in zip(varied.ways, given_names(varied.ways), strict=True):
        plain = pydantic.TypeAdapter(type(way.stage)).dump_python(way.stage, mode="json")
        at_default = {
            parameter: plain[parameter] for parameter in of_node if parameter in plain
        }  # else the node's is kept
        entry: dict[str, Any] = {"stage": way.stage.stage_name, **parameters_of(way.stage), **at_default}
        if name:
            entry["name"] = name
        if not (entries and _folded(entries[-1], entry, type(way.stage))):
            entries.append(entry)
    return entries


def _folded(last: dict[str, Any], entry: dict[str, Any], cls: Any) -> bool:
    """Put an entry's one other value into the list of the last entry's, if that is all that tells them apart."""
    if "name" in entry or "name" in last or last.keys() != entry.keys():
        return False
    differing = [name for name in entry if last[name] != entry[name]]
    lists = [name for name in last if isinstance(last[name], list) and not _takes(cls, name, last[name])]
    if len(differing) != 1 or differing == ["stage"] or (lists and lists != differing):
        return False
    (name,) = differing
    if isinstance(entry[name], list | dict):
        return False
    last[name] = [*last[name], entry[name]] if lists else [last[name], entry[name]]
    return True


def _ways_of(own: Any, spec: Any, folder: Path | None) -> Iterator[Way]:
    if isinstance(spec, Way):
        yield spec
        return
    if isinstance(spec, type):
        raise UserError(f"{spec.__name__} is the class of a stage: write {spec.__name__}(), with its parameters")
    if isinstance(spec, str):
        spec = {"stage": spec}
    if not isinstance(spec, Mapping):
        if not hasattr(spec, "stage_name"):
            raise UserError(
                f"{spec!r} is no way of doing a node's work: give a stage, its name, or parameters to change"
            )
        yield Way("", spec)
        return
    parameters = {str(name): value for name, value in spec.items() if name not in ("stage", "name")}
    stage = _other_stage(own, str(spec["stage"]), parameters) if "stage" in spec else own
    name = str(spec.get("name", ""))
    many = {
        key: value
        for key, value in parameters.items()
        if isinstance(value, list) and not _takes(type(stage), key, value)
    }
    if name and many:
        raise UserError(f"the name {name!r} is one, and there is a list of values for {', '.join(many)}")
    for values in itertools.product(*many.values()):
        made = changed(stage, stage.stage_name, {**parameters, **dict(zip(many, values, strict=True))})
        yield Way(name, made if folder is None else read_from(made, dict.fromkeys(parameters, folder)))


def _other_stage(own: Any, name: str, parameters: Mapping[str, Any]) -> Any:
    """A stage of this name, with what it needs: given for it, or kept from the node's own."""
    kind = own.stage_name.partition("/")[0]
    cls = registry.load(name if "/" in name else f"{kind}/{name}")
    if cls is type(own):
        return own
    known = set(names_of(cls))
    kept = {
        field.name: getattr(own, field.name)
        for field in dataclasses.fields(own)
        if field.name in known and getattr(own, field.name) != default_of(field)
    }
    first = {
        key: value[0] if isinstance(value, list) and value and not _takes(cls, key, value) else value
        for key, value in parameters.items()
        if key in known
    }
    try:
        return cls(**{**kept, **first})
    except pydantic.ValidationError as error:
        raise ParameterError.of(cls.stage_name, error, known) from None


def _takes(cls: Any, name: str, value: Any) -> bool:
    """Whether a list is one value of this parameter."""
    fields = getattr(cls, "__pydantic_fields__", {})
    if name not in fields:
        return False
    field = fields[name]
    try:
        pydantic.TypeAdapter(field.annotation).validate_python(value)
    except pydantic.ValidationError:
        return False
    return True


def _short(value: Any) -> str:
    if isinstance(value, Path):
        return value.stem
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, tuple | list):
        return ",".join(_short(part) for part in value)
    return "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _tidy(name: str) -> str:
    """A name that is safe in names of files and nodes.

    >>> _tidy("a b/c@d=1e-3")
    'a_b_c_d=1e-3'
    """
    return re.sub(r"[^A-Za-z0-9_.,=+-]", "_", name)[:LONGEST_WAY].lstrip(".-") or "way"
