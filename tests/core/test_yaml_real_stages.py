"""Every stage that is shipped goes through YAML and a pickle, with its parameters at their defaults and away from them."""

from __future__ import annotations

import dataclasses
import json
import pickle
from pathlib import Path
from typing import Any

import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.composing.graph import Graph, Node
from pipeline.composing.yaml.spec import schema
from pipeline.contract import contract_of, role_of
from pipeline.registry import _built_in_modules, load, names

REQUIRED: dict[str, Any] = {
    "address": "tcp://127.0.0.1:5002",
    "subscribe": ("ondaframedata", "b"),
    "request": "next",
    "geometry": Path("folder/Eiger.geom"),
    "cell": Path("lysozyme.cell"),
    "path": Path("output.stream"),
    "symmetry": "4/mmm",
    "files": (Path("a.msgpack"), Path("b")),
    "endpoint": "here:8400",
    "beamtime": "110",
    "data_source": "eiger",
    "stream": "run7",
    "group": "us",
    "images": ("files.lst", "run7.cxi //3"),
    "file": Path("crystals.sol"),
    "key": "laser_on",
}


def shipped() -> list[str]:
    modules = {f"{kind}/{which}" for kind, which in _built_in_modules()}
    return [name for name in names() if name in modules]


def at_defaults(name: str) -> Any:
    cls = load(name)
    wanted = {}
    for field in dataclasses.fields(cls):
        default = field.default
        is_missing = default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if is_missing or (isinstance(default, pydantic.fields.FieldInfo) and default.is_required()):
            wanted[field.name] = REQUIRED.get(field.name, 1)
    return cls(**wanted)


def away_from_default(value: Any) -> st.SearchStrategy[Any]:
    if isinstance(value, bool):
        return st.booleans()
    if isinstance(value, int):
        return st.integers(0, 5000)
    if isinstance(value, float):
        return st.floats(1e-6, 1e6) | st.just(float("inf"))
    if isinstance(value, tuple) and value and all(isinstance(item, float) for item in value):
        return st.lists(st.floats(0.5, 50), min_size=len(value), max_size=len(value)).map(lambda v: tuple(sorted(v)))
    return st.just(value)


@pytest.mark.parametrize("name", shipped())
def test_a_shipped_stage_has_a_manual_and_a_contract(name: str) -> None:
    cls = load(name)
    assert cls.__doc__
    assert len(cls.__doc__.strip()) > 20
    if role_of(cls) == "stage":
        assert contract_of(cls).writes, f"{name} writes nothing"
    described = schema([name])["properties"]["nodes"]["additionalProperties"]["oneOf"][0]
    assert json.dumps(described)


@pytest.mark.parametrize("name", shipped())
@given(data=st.data())
@settings(max_examples=15, deadline=None)
def test_a_shipped_stage_survives_yaml_and_pickle(name: str, data: st.DataObject) -> None:
    stage = at_defaults(name)
    for field in dataclasses.fields(stage):
        value = data.draw(away_from_default(getattr(stage, field.name)), label=field.name)
        try:
            stage = dataclasses.replace(stage, **{field.name: value})
        except pydantic.ValidationError:
            continue  # out of the parameter's bounds, or against another parameter
    graph = Graph((Node("only", stage),))
    assert Graph.from_yaml(graph.to_yaml()) == graph
    assert pickle.loads(pickle.dumps(graph)) == graph
