"""A stage's place in a graph, with simulated frames that have come as far as there.

The graph before it is the usual one: simulated messages, their decoder, geometry, the peaks of the message, hits, indexing with
the cell, refinement, integration; as much of it as makes what the stage reads. What other stages of the file make is added.
"""

from __future__ import annotations

import copy
import functools
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from pipeline import Context, Event, Frame, Graph, Message, UserError
from pipeline.contract import contract_of, role_of, tells_of
from pipeline.metrics import NodeMetrics
from pipeline.registry import load
from pipeline.running.guards import guard
from pipeline.running.wiring import Replica, Setup
from stages.records import Header, Image
from stages.simulation.beamline import Beamline
from stages.simulation.settings import Style
from stages.wire.formats import DECODERS

FRAMES = 12
SIZE = "512x512"
MIN_PEAKS = 15
"""So many listed peaks make a hit: blanks have one or two, crystals 50 and more."""

BEAMLINE = Beamline(seed=41, hits=0.7, size=SIZE, distance_mm=45.0)
"""Some frames are blank, as frames are."""

NODE = "tried"


@dataclass(frozen=True)
class Place:
    """Where a stage is tried.

    Attributes
    ----------
    graph
        The nodes before it.
    published
        What those have published, by node.
    frames
        What has come through them.
    """

    graph: Graph
    published: dict[str, dict[type, object]]
    frames: tuple[Frame, ...]

    def context(self, stage: Any) -> Context:
        """The context with which a stage opens here, as in a run."""
        graph = self.graph.add(stage, name=NODE)
        return Setup(graph, published=dict(self.published)).context_of(graph.node(NODE), 0)

    def opened(self, stage: Any) -> Any:
        """What works on frames: what a stage opens here, or itself if it opens nothing."""
        return stage.open(self.context(stage)) if hasattr(stage, "open") else stage


def place_for(stage: Any, others: Sequence[Any] = ()) -> Place:
    """Return the place behind the shortest part of the usual graph that makes what a stage reads; UserError if none does.

    `others` are stages that may come between, if they make what else it reads.
    """
    wanted, needed = _wanted(stage)
    if (style := _style_for(stage)) is not None:
        return _copy(_behind(1, style))
    is_last = type(stage).stage_name.startswith("integrate/")  # it may work on the reflections of another one
    lengths = range(len(_usual()) if is_last else 1, len(_usual()) + 1)
    for length in lengths:
        makes, told = _makes(length)
        if wanted <= makes and needed <= told:
            return _copy(_behind(length))
    makes, told = _makes(lengths[-1])
    if needed - told:
        raise UserError(f"it needs {_names(needed - told)}, which no stage of the usual graph publishes")
    place = _copy(_behind(lengths[-1]))
    for kind in wanted - makes:
        maker = next(
            (other for other in others if other is not stage and kind in contract_of(type(other)).writes), None
        )
        if maker is None:
            raise UserError(
                f"it reads {kind.__name__}, which neither the usual graph nor another stage of its file makes"
            )
        place = _with(place, maker)
    return place


def _style_for(stage: Any) -> Style | None:
    """How frames have to be written for the decoder of a format that is not MessagePack; None for every other stage."""
    read_by = {decoder: data_format for data_format, decoder in DECODERS.items() if data_format != "msgpack"}
    return cast("Style | None", read_by.get(type(stage).stage_name))


def _wanted(stage: Any) -> tuple[set[type], set[type]]:
    """What must be in frames, and what must be published."""
    if role_of(type(stage)) == "sink":
        reads = {*getattr(stage, "reads", ()), *getattr(stage, "may_read", _makes(len(_usual()))[0])}
    else:
        contract = contract_of(type(stage))
        reads = set(contract.reads) - set(contract.optional)
    return reads - {Message, Event}, set(tells_of(type(stage)).needs)


def _makes(length: int) -> tuple[set[type], set[type]]:
    """What the first nodes of the usual graph put into frames, and what they publish."""
    stages = _usual()[:length]
    made = {kind for stage in stages if role_of(type(stage)) == "stage" for kind in contract_of(type(stage)).writes}
    return made, {kind for stage in stages for kind in tells_of(type(stage)).publishes}


@functools.cache
def _files() -> tempfile.TemporaryDirectory[str]:
    """The geometry and the cell of the simulated frames, kept until the program ends."""
    folder = tempfile.TemporaryDirectory(prefix="check-stage-")
    apparatus = BEAMLINE.set_up()
    (Path(folder.name) / "simulated.geom").write_text(apparatus.geometry_text)
    (Path(folder.name) / "simulated.cell").write_text(apparatus.cell_text)
    return folder


@functools.cache
def _usual() -> tuple[Any, ...]:
    folder = Path(_files().name)
    cell = folder / "simulated.cell"
    return (
        _source("seed"),
        load("decode/msgpack_map")(),
        load("geometry_map/map_panels")(geometry=folder / "simulated.geom"),
        load("peaks/from_message")(),
        load("peaks/hit")(min_peaks=MIN_PEAKS),
        load("index/pairs")(cell=cell),
        load("refine/prediction")(),
        load("integrate/rings")(),
    )


def _source(style: Style) -> Any:
    known = {name: getattr(BEAMLINE, name) for name in ("seed", "hits", "size", "distance_mm")}
    return load("source/simulate")(**known, frames=FRAMES, style=style)


@functools.cache
def messages(style: Style = "seed") -> tuple[Message, ...]:
    """The simulated messages."""
    source = _source(style).open(Context())
    found: list[Message] = []
    while len(found) < FRAMES:
        found += source.receive(1.0, 1)
    source.close()
    return tuple(found)


@functools.cache
def _behind(length: int, style: Style = "seed") -> Place:
    """The place behind the first nodes of the usual graph (the source alone: frames of nothing but messages)."""
    before = Graph.chain(_source(style), *_usual()[1:length])
    setup = Setup(before.add(load("sink/memory")(keep_image=True), name="kept"))
    replica = Replica(setup)
    try:
        arrived = [
            replica.process(Frame(serial, "", message.received_ns, {Message: message}))[0].encoded
            for serial, message in enumerate(messages(style))
        ]
    finally:
        replica.close()
    return Place(before, setup.published, tuple(outcome for outcome in arrived if isinstance(outcome, Frame)))


def _copy(place: Place) -> Place:
    """The same with frames of its own: whoever changes what is in them changes it for nobody else.

    Messages, what lies in their memory, and headers stay: they are read-only.
    """
    kept = (Message, Header, Image)
    copies = [
        frame.with_items((kind, copy.deepcopy(value)) for kind, value in frame.values.items() if kind not in kept)
        for frame in place.frames
    ]
    return Place(place.graph, place.published, tuple(copies))


def _with(place: Place, maker: Any) -> Place:
    """The place behind one node more."""
    step = guard(NODE, contract_of(type(maker)), place.opened(maker), NodeMetrics(), [None])
    frames = [outcome for outcome in map(step, place.frames) if isinstance(outcome, Frame)]
    return Place(place.graph.add(maker), place.published, tuple(frames))


def _names(kinds: set[type]) -> str:
    return ", ".join(sorted(kind.__name__ for kind in kinds))
