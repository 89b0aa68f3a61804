"""``streamajig demo``: simulator and pipeline together, and how well they agree."""

from __future__ import annotations

import logging
import multiprocessing
import shlex
import signal
import sys
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Option

if TYPE_CHECKING:
    from pipeline.composing.graph import Graph
    from pipeline.running.report import Report
    from pipeline.running.signals import Ending
    from stages.files.stream import Stream
    from stages.simulation.apparatus import Apparatus
    from stages.simulation.truth import Truth

SIZE = "1024x1024"
DISTANCE_MM = 120.0
START_S = 120.0
"""How long the simulator may take until it serves (it compiles its kernels the first time)."""


def demo(
    frames: Annotated[int, Option(min=1, help="How many frames to simulate.")] = 200,
    output: Annotated[Path, Option("--output", "-o", help="Folder for what the demo leaves.")] = Path("demo-output"),
    workers: Annotated[int, Option("--workers", "-j", min=1, help="Replicas of the graph.")] = 2,
    peaks: Annotated[
        str, Option(help="peakfinder8 searches the pixels; msgpack takes the peaks from the messages.")
    ] = "peakfinder8",
    hits: Annotated[float, Option(min=0, max=1, help="Fraction of frames with a crystal.")] = 0.7,
    seed: Annotated[int, Option(min=0, help="Everything random follows from it.")] = 0,
    profile: Annotated[bool, Option("--profile", help="Show what each stage costs.")] = False,
) -> None:
    """Simulate frames of lysozyme, index them as they arrive, and compare with the truth.

    A second process simulates a beamline and serves its frames over a ZeroMQ socket on this machine; here a graph asks for
    them, finds peaks, indexes, refines, integrates and writes a CrystFEL stream. Left in the output folder: the stream, the
    graph as YAML, geometry and cell files, the truth, and a picture of one indexed pattern.
    """
    from pipeline import UserError
    from pipeline.running.signals import ENDED, Ending
    from stages.commands.score import score
    from stages.files.stream import read_stream
    from stages.simulation.truth import read_truth

    if peaks not in ("peakfinder8", "msgpack"):
        raise UserError(f"--peaks={peaks}: the demo knows peakfinder8 and msgpack")
    begin = time.perf_counter()
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot make the folder {output}: {error.strerror}; choose another --output") from error
    apparatus = make_apparatus(seed, hits)
    files = {name: output / name for name in ("demo.geom", "lysozyme.cell", "demo.stream", "demo.yaml", "truth.jsonl")}
    (output / "demo.geom").write_text(apparatus.geometry_text)
    (output / "lysozyme.cell").write_text(apparatus.cell_text)

    logging.getLogger("streamajig.demo").info(
        "starting a simulated beamline and the pipeline (the first time kernels are compiled, for a minute or two)"
    )
    with Ending() as ending:
        report = _run(ending, files, seed, hits, frames, workers, peaks)
    if ending.abandon.is_set() or (ending.came_early and not report.received):
        typer.echo(report.text())
        raise typer.Exit(ENDED)
    if report.failure is not None:
        raise UserError(f"the run failed: {report.failure}")
    stream, truths = read_stream(files["demo.stream"]), read_truth(files["truth.jsonl"])
    result = score(stream.chunks, truths, apparatus.simulation.specimen.cell)
    typer.echo(report.text(profile=profile))
    typer.echo(result.text())
    shown = draw_best(output / "pattern.png", apparatus, stream, truths)
    left = [
        "demo.stream",
        "demo.yaml",
        "demo.geom",
        "lysozyme.cell",
        "truth.jsonl",
        *(["pattern.png"] if shown else []),
    ]
    typer.echo(f"in {output}/: {', '.join(left)}   ({time.perf_counter() - begin:.1f} s)")


def _run(
    ending: Ending, files: dict[str, Path], seed: int, hits: float, frames: int, workers: int, peaks: str
) -> Report:
    """Start the simulator, run the graph, and end the simulator."""
    from pipeline.command_line.execute import run_watched

    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe(duplex=False)
    simulator = spawn.Process(
        target=serve, args=(theirs, seed, hits, frames, files["truth.jsonl"]), name="simulator", daemon=True
    )
    simulator.start()
    theirs.close()
    spawn.Process(target=compile_ahead, name="compiler", daemon=True).start()
    try:
        address = _address(ours)
        graph = make_graph(address, files, frames, workers, peaks)
        portable = graph.portable(files["demo.yaml"].parent).to_yaml()
        files["demo.yaml"].write_text(_how_to_run_again(address, seed, hits, frames, files) + portable)
        report = run_watched(graph, shlex.join(sys.argv), ending, lambda report: typer.echo(report.text()))
        simulator.join(10.0)
    finally:
        if simulator.is_alive():
            simulator.terminate()
            simulator.join(10.0)
    return report


def make_apparatus(seed: int, hits: float) -> Apparatus:
    """The beamline of the demo: lysozyme on a flat detector of a megapixel."""
    from stages.simulation.apparatus import Apparatus
    from stages.simulation.settings import Settings

    return Apparatus.make(Settings(seed=seed, hits=hits), style="om", size=SIZE, distance_mm=DISTANCE_MM)


def serve(ready: Connection, seed: int, hits: float, frames: int, truth: Path) -> None:
    """Serve the demo's frames (in a process of its own); tell the address once requests can be answered at once."""
    from stages.simulation.truth import TruthWriter
    from stages.wire.serving import FrameServer

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that shows the progress
    apparatus = make_apparatus(seed, hits)
    apparatus.simulation.frame(0)
    with FrameServer(socket="rep") as server, TruthWriter(truth) as writer:
        ready.send(server.address)
        ready.close()
        server.serve(
            apparatus.wire.bodies(apparatus.simulation.frames(frames), lambda frame: writer.write(frame.truth))
        )


def compile_ahead() -> None:
    """Compile what the graph's last stages need (in a process of its own), into the cache, while the first ones are opened.

    A process compiles one thing at a time, and the first time that takes minutes. With the kernels in the cache this process
    has done so in a second or two, beside the others.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    from pipeline import Context
    from stages.index.lattice import FreeLattice
    from stages.integrate.rings import Rings
    from stages.refine.prediction import Prediction

    for stage in (FreeLattice(), Prediction(), Rings()):  # Pairs asks FreeLattice's search about other cells
        stage.open(Context())


def make_graph(address: str, files: dict[str, Path], frames: int, workers: int, peaks: str) -> Graph:
    """The graph that the demo runs."""
    from pipeline.composing.graph import Graph
    from pipeline.composing.options import RunOptions
    from stages.decode.msgpack_map import MsgpackMap
    from stages.geometry_map.map_panels import MapPanels
    from stages.index.pairs import Pairs
    from stages.integrate.rings import Rings
    from stages.peaks.from_message import FromMessage
    from stages.peaks.hit import HitFinder
    from stages.peaks.peakfinder8 import Peakfinder8
    from stages.refine.prediction import Prediction
    from stages.sink.stream_file import StreamFile
    from stages.source.zmq_req import ZmqReq

    before = Graph.chain(
        ZmqReq(address=address, request="next", outstanding=4),
        MsgpackMap(),
        MapPanels(geometry=files["demo.geom"]),
        FromMessage() if peaks == "msgpack" else Peakfinder8(threshold=5.0, min_snr=5.0),
        options=RunOptions(backend=f"threads:{workers}", max_frames=frames, no_data_timeout_s=60.0),
    )
    indexed = before.add(HitFinder(min_peaks=10), name="hit").add(Pairs(cell=files["lysozyme.cell"]))
    return indexed.add(Prediction()).add(Rings()).add(StreamFile(path=files["demo.stream"]))


def draw_best(path: Path, apparatus: Apparatus, stream: Stream, truths: dict[str, Truth]) -> bool:
    """Draw the indexed pattern with most peaks; False, and a line that says why, if there is none to draw."""
    from pipeline import UserError
    from stages.drawing.pattern import draw_chunk

    indexed = [chunk for chunk in stream.chunks if chunk.crystals and chunk.event in truths]
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


def _how_to_run_again(address: str, seed: int, hits: float, frames: int, files: dict[str, Path]) -> str:
    """A comment for the graph's YAML: the command that serves the same frames once more."""
    return (
        "# What `streamajig demo` ran. To run it again, serve the same frames in one terminal:\n"
        f"#   streamajig simulate --rep --format om --bind {address} --frames {frames} --seed {seed} --hits {hits:g} \\\n"
        f"#     --size {SIZE} --distance {DISTANCE_MM:g}\n"
        f"# and in another: streamajig run {files['demo.yaml']}\n"
    )
