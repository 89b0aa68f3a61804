"""``streamajig demo``: simulator and pipeline together, and how well they agree."""

from __future__ import annotations

import logging
import multiprocessing
import shlex
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer
from typer import Option

if TYPE_CHECKING:
    from pipeline.composing.graph import Graph
    from pipeline.running.report import Report
    from pipeline.running.signals import Ending
    from stages.files.stream import Chunk
    from stages.simulation.apparatus import Apparatus
    from stages.simulation.settings import Style
    from stages.simulation.truth import Truth
    from stages.wire.formats import DataFormat

SIZE = "1024x1024"
DISTANCE_MM = 120.0
START_S = 120.0
"""How long the simulator may take until it serves (it compiles its kernels the first time)."""


@dataclass(frozen=True)
class Plan:
    """What the demo was asked for; the options are explained there.

    Attributes
    ----------
    output
        Where all files go.
    """

    frames: int
    output: Path
    workers: int
    data_format: str
    peaks: str
    hits: float
    seed: int

    @property
    def geometry(self) -> Path:
        """The geometry file that goes with the frames."""
        return self.output / "demo.geom"

    @property
    def cell(self) -> Path:
        """The crystals' cell."""
        return self.output / "lysozyme.cell"

    @property
    def stream(self) -> Path:
        """What is found in the frames."""
        return self.output / "demo.stream"

    @property
    def graph(self) -> Path:
        """The graph that ran."""
        return self.output / "demo.yaml"

    @property
    def truth(self) -> Path:
        """What is true of each frame."""
        return self.output / "truth.jsonl"

    @property
    def pushes(self) -> bool:
        """Whether frames are pushed, as who sends in this format does; otherwise they are asked for."""
        from stages.wire.formats import SAID_ONCE

        return self.data_format in SAID_ONCE

    def check(self) -> None:
        """Raise UserError for what the demo does not know."""
        from pipeline import UserError
        from pipeline.hints import did_you_mean
        from stages.wire.formats import DECODERS, WITH_PEAKS

        if self.data_format not in DECODERS:
            raise UserError(f"--data-format={self.data_format} is not read{did_you_mean(self.data_format, DECODERS)}")
        if self.peaks not in ("peakfinder8", "msgpack"):
            raise UserError(f"--peaks={self.peaks}: the demo knows peakfinder8 and msgpack")
        if self.peaks == "msgpack" and self.data_format not in WITH_PEAKS:
            raise UserError(
                f"--peaks=msgpack takes peaks that come with the messages, and --data-format={self.data_format} has none: "
                "leave one of them out"
            )

    def apparatus(self) -> Apparatus:
        """The beamline of the demo: lysozyme on a flat detector of a megapixel."""
        from stages.simulation.apparatus import Apparatus
        from stages.simulation.settings import Settings

        settings = Settings(seed=self.seed, hits=self.hits)
        return Apparatus.make(settings, style=self.style, size=SIZE, distance_mm=DISTANCE_MM)

    @property
    def style(self) -> Style:
        """What the simulator calls the format."""
        return "om" if self.data_format == "msgpack" else cast("Style", self.data_format)


def demo(
    frames: Annotated[int, Option(min=1, help="How many frames to simulate.")] = 200,
    output: Annotated[Path, Option("--output", "-o", help="Folder for what the demo leaves.")] = Path("demo-output"),
    workers: Annotated[int, Option("--workers", "-j", min=1, help="Replicas of the graph.")] = 2,
    data_format: Annotated[
        str,
        Option(
            metavar="FORMAT",
            help="Format of the frames on their way: msgpack, hdf5, cbf, seedee, npy, dectris1, dectris2 or karabo.",
        ),
    ] = "msgpack",
    peaks: Annotated[
        str,
        Option(
            help="peakfinder8 searches the pixels; msgpack takes the peaks from the messages, where these have some."
        ),
    ] = "peakfinder8",
    hits: Annotated[float, Option(min=0, max=1, help="Fraction of frames with a crystal.")] = 0.7,
    seed: Annotated[int, Option(min=0, help="Everything random follows from it.")] = 0,
    profile: Annotated[bool, Option("--profile", help="Show what each stage costs.")] = False,
) -> None:
    """Simulate frames of lysozyme, index them as they arrive, and compare with the truth.

    A second process simulates a beamline and serves its frames over a ZeroMQ socket on this machine, as a sender of their
    format does: it pushes those of DECTRIS detectors, and answers requests for others. Here a graph takes them, finds peaks,
    indexes, refines, integrates and writes a CrystFEL stream. Left in the output folder: the stream, the graph as YAML,
    geometry and cell files, the truth, and a picture of one indexed pattern.
    """
    from pipeline import UserError
    from pipeline.running.signals import ENDED, Ending
    from stages.commands.score import score
    from stages.files.stream import read_stream
    from stages.simulation.truth import read_truth

    plan = Plan(frames, output, workers, data_format, peaks, hits, seed)
    plan.check()
    begin = time.perf_counter()
    apparatus = plan.apparatus()
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot make the folder {output}: {error.strerror}; choose another --output") from error
    plan.geometry.write_text(apparatus.geometry_text)
    plan.cell.write_text(apparatus.cell_text)

    logging.getLogger("streamajig.demo").info(
        "starting a simulated beamline and the pipeline (the first time kernels are compiled, for a minute or two)"
    )
    with Ending() as ending:
        report = _run(ending, plan)
    if ending.abandon.is_set() or (ending.came_early and not report.received):
        typer.echo(report.text())
        raise typer.Exit(ENDED)
    if report.failure is not None:
        raise UserError(f"the run failed: {report.failure}")
    truths = read_truth(plan.truth)
    chunks: Sequence[Chunk] = read_stream(plan.stream).chunks
    if not apparatus.wire.names_frames:
        chunks = _named(chunks, list(truths))
    result = score(chunks, truths, apparatus.simulation.specimen.cell)
    typer.echo(report.text(profile=profile))
    typer.echo(result.text())
    shown = draw_best(output / "pattern.png", apparatus, chunks, truths)
    left = [plan.stream, plan.graph, plan.geometry, plan.cell, plan.truth]
    names = [path.name for path in left] + (["pattern.png"] if shown else [])
    typer.echo(f"in {output}/: {', '.join(names)}   ({time.perf_counter() - begin:.1f} s)")


def _named(chunks: Sequence[Chunk], events: Sequence[str]) -> list[Chunk]:
    """Give frames that came without names those of the frames that were sent: the n-th to arrive is the n-th sent."""
    return [replace(chunk, event=events[chunk.serial - 1]) for chunk in chunks]


def _run(ending: Ending, plan: Plan) -> Report:
    """Start the simulator, run the graph, and end the simulator."""
    from pipeline.command_line.execute import run_watched

    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe(duplex=False)
    has_run = spawn.Event()
    simulator = spawn.Process(target=serve, args=(theirs, has_run, plan), name="simulator", daemon=True)
    simulator.start()
    theirs.close()
    try:
        compile_graph(plan)
        address = _address(ours)
        graph = make_graph(address, plan)
        portable = graph.portable(plan.output).to_yaml()
        plan.graph.write_text(_how_to_run_again(address, plan) + portable)
        report = run_watched(graph, shlex.join(sys.argv), ending, lambda report: typer.echo(report.text()))
        has_run.set()
        simulator.join(10.0)
    finally:
        if simulator.is_alive():
            simulator.terminate()
            simulator.join(10.0)
    return report


def serve(ready: Connection, has_run: Event, plan: Plan) -> None:
    """Serve the demo's frames (in a process of its own); tell the address once frames can be had at once.

    The socket stays until the pipeline has run: one that is gone would be told as a loss.
    """
    from stages.simulation.truth import TruthWriter
    from stages.wire.serving import FrameServer, kind_of

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that shows the progress
    apparatus = plan.apparatus()
    apparatus.simulation.frame(0)
    with FrameServer(socket=kind_of(False, plan.pushes)) as server, TruthWriter(plan.truth) as writer:
        ready.send(server.address)
        ready.close()
        frames = apparatus.simulation.frames(plan.frames)
        server.serve(apparatus.wire.bodies(frames, apparatus.wire.truth_into(writer)))
        pipeline = multiprocessing.parent_process()
        while not has_run.wait(1.0) and pipeline is not None and pipeline.is_alive():
            pass


def compile_graph(plan: Plan) -> None:
    """Compile what the graph needs while the simulator compiles what it needs itself, or load it."""
    from pipeline.running.wiring import Replica, Setup
    from stages.commands.ahead import compile_beside

    graph = make_graph("tcp://127.0.0.1:1", plan)
    compile_beside(graph)
    Replica(Setup(graph)).close()


def make_graph(address: str, plan: Plan) -> Graph:
    """The graph that the demo runs."""
    from pipeline import registry
    from pipeline.composing.graph import Graph
    from pipeline.composing.options import RunOptions
    from stages.geometry_map.map_panels import MapPanels
    from stages.index.pairs import Pairs
    from stages.integrate.rings import Rings
    from stages.peaks.from_message import FromMessage
    from stages.peaks.hit import HitFinder
    from stages.peaks.peakfinder8 import Peakfinder8
    from stages.refine.prediction import Prediction
    from stages.sink.stream_file import StreamFile
    from stages.source.zmq_pull import ZmqPull
    from stages.source.zmq_req import ZmqReq
    from stages.wire.formats import DECODERS

    form = cast("DataFormat", plan.data_format)
    before = Graph.chain(
        ZmqPull(address=address, data_format=form)
        if plan.pushes
        else ZmqReq(address=address, request="next", outstanding=4, data_format=form),
        registry.load(DECODERS[plan.data_format])(),
        MapPanels(geometry=plan.geometry),
        FromMessage() if plan.peaks == "msgpack" else Peakfinder8(threshold=5.0, min_snr=5.0),
        options=RunOptions(backend=f"threads:{plan.workers}", max_frames=plan.frames, no_data_timeout_s=60.0),
    )
    indexed = before.add(HitFinder(min_peaks=10), name="hit").add(Pairs(cell=plan.cell))
    return indexed.add(Prediction()).add(Rings()).add(StreamFile(path=plan.stream))


def draw_best(path: Path, apparatus: Apparatus, chunks: Sequence[Chunk], truths: dict[str, Truth]) -> bool:
    """Draw the indexed pattern with most peaks; False, and a line that says why, if there is none to draw."""
    from pipeline import UserError
    from stages.drawing.pattern import draw_chunk

    indexed = [chunk for chunk in chunks if chunk.crystals and chunk.event in truths]
    if not indexed:
        typer.echo("no pattern was indexed, so there is no picture")
        return False
    chunk = max(indexed, key=lambda chunk: len(chunk.peaks or ()))
    frame = apparatus.simulation.frame(list(truths).index(chunk.event))
    try:
        draw_chunk(path, chunk, frame.geom, frame.arrays)
    except UserError as error:
        typer.echo(f"no picture: {error}")
        return False
    return True


def _address(simulator: Connection) -> str:
    """Wait for the simulator to say where it serves."""
    from pipeline import UserError

    try:
        if simulator.poll(START_S):
            return str(simulator.recv())
    except EOFError:
        raise UserError("the simulator's process ended before it served anything; its error stands above") from None
    raise UserError(f"the simulator's process did not start serving within {START_S:.0f} s")


def _how_to_run_again(address: str, plan: Plan) -> str:
    """A comment for the graph's YAML: the command that serves the same frames once more."""
    socket = "--push" if plan.pushes else "--rep"
    return (
        "# What `streamajig demo` ran. To run it again, serve the same frames in one terminal:\n"
        f"#   streamajig simulate {socket} --format {plan.style} --bind {address} --frames {plan.frames} \\\n"
        f"#     --seed {plan.seed} --hits {plan.hits:g} --size {SIZE} --distance {DISTANCE_MM:g}\n"
        f"# and in another: streamajig run {plan.graph}\n"
    )
