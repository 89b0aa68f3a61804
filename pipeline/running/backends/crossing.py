"""What crosses from the process of a run to those of its replicas, and back.

The way there is cloudpickle's, which takes along what stands in no module that the other side could import: the stages of a
script or a notebook. The way back is pickle's, which is faster; what it cannot do cloudpickle does.
"""

from __future__ import annotations

import pickle
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cloudpickle

from pipeline import registry
from pipeline.board import Noticeboard, OnPost
from pipeline.composing.graph import Graph
from pipeline.errors import UserError
from pipeline.faults import STAGE_FAILED, describe, rejected, text_of
from pipeline.frame import Frame
from pipeline.running.leaves import Arrived
from pipeline.running.wiring import Setup
from pipeline.stage import Context
from pipeline.variant import Variant


@dataclass(frozen=True)
class _Packed:
    modules: tuple[str | Path, ...]
    rest: bytes


@dataclass(frozen=True)
class _Rest:
    """What can be read once the modules are loaded."""

    graph: Graph
    keep_messages: bool
    command_line: str
    program: str
    variants: tuple[Variant, ...]


def packed(setup: Setup) -> bytes:
    """Return what another process needs to open replicas as this one would."""
    context = setup.context
    rest = _Rest(setup.graph, setup.keep_messages, context.command_line, context.program, context.variants)
    return pickle.dumps(_Packed(setup.graph.modules, cloudpickle.dumps(rest)))


def unpacked(data: bytes, stopping: threading.Event | None = None, on_post: OnPost | None = None) -> Setup:
    """Load the user's modules and return the setup, with a noticeboard of its own that tells `on_post` what is posted on it."""
    outer: _Packed = pickle.loads(data)
    for module in outer.modules:
        registry.load_module(module)
    rest: _Rest = pickle.loads(outer.rest)
    context = Context(
        board=Noticeboard(on_post),
        command_line=rest.command_line,
        program=rest.program,
        stopping=stopping or threading.Event(),
        variants=rest.variants,
    )
    return Setup(rest.graph, context, rest.keep_messages)


def to_worker(value: Any) -> bytes:
    """Pickle what goes to another process, with the classes that it cannot import.

    >>> pickle.loads(to_worker({"three": 3}))
    {'three': 3}
    """
    return cloudpickle.dumps(value)  # type: ignore[no-any-return]


def to_supervisor(value: Any) -> bytes:
    """Pickle what a replica hands back. TypeError, with its reason, for what cannot be pickled."""
    try:
        return pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
    except Exception:  # a class of the user's script, which this process has by value
        try:
            return cloudpickle.dumps(value)  # type: ignore[no-any-return]
        except Exception as error:
            raise TypeError(f"it cannot be handed to another process: {error}") from error


def crossable(error: BaseException) -> Exception:
    """The error as another process can raise it: itself if users are meant to read it, else a sentence that says it."""
    if isinstance(error, (UserError, OSError)):
        try:
            if type(pickle.loads(pickle.dumps(error))) is type(error):
                return error
        except Exception:
            return UserError(str(error))
    return UserError(describe(error))


@dataclass(frozen=True, slots=True)
class FrameElsewhere:
    """A frame that another process works on: all that is known of it here is its number."""

    serial: int


def as_it_can_cross(arrived: Arrived) -> Arrived:
    """Return what arrived at a leaf, or its rejection there if what the encoder has made of it cannot be pickled."""
    try:
        to_supervisor(arrived)
        return arrived
    except TypeError as error:
        frame = Frame(arrived.serial, arrived.event, arrived.received_ns)
        refused = arrived.rejected or rejected(frame, arrived.leaf, STAGE_FAILED, text_of(error))
        return arrived._replace(encoded=None, rejected=refused)


Published = Mapping[str, Mapping[type, object]]
"""What each node's stage published when it opened, by node name."""


def with_published(setup: Setup, published: Published) -> None:
    """Let a setup know what the stages of a replica in another process have published."""
    for node, values in published.items():
        setup.published.setdefault(node, {}).update(values)
