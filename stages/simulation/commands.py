"""``streamajig simulate``: a beamline of one command."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType
from typing import Annotated, Literal

import typer
from typer import Option


def simulate(
    bind: Annotated[str, Option(help="Endpoint to serve at; port * takes a free one.")] = "tcp://127.0.0.1:5002",
    publish: Annotated[
        bool,
        Option("--pub/--rep", help="PUB sends to all who subscribe, as OnDA does; REP answers requests, as OM does."),
    ] = False,
    topic: Annotated[str, Option(help="Tag of published messages.")] = "ondaframedata",
    request: Annotated[str, Option(help="The request that is answered with a frame.")] = "next",
    style: Annotated[
        str, Option("--format", help="seed: OnDA's array of one map; om: one map, image as OM writes it.")
    ] = "seed",
    image: Annotated[bool, Option("--image/--no-image", help="Send pixels, or peaks and headers alone.")] = True,
    frames: Annotated[int, Option(min=0, help="How many; 0 goes on until stopped.")] = 0,
    rate: Annotated[float, Option(min=0, help="Frames per second at most; 0 is as fast as they are taken.")] = 0.0,
    hits: Annotated[float, Option(min=0, max=1, help="Fraction of frames with a crystal.")] = 0.7,
    spurious: Annotated[float, Option(min=0, max=0.9, help="Fraction of a hit's listed peaks that are none.")] = 0.1,
    peaks_per_hit: Annotated[int, Option(min=0, help="List only so many true spots, the brightest; 0: all.")] = 0,
    blank_peaks: Annotated[float, Option(min=0, help="Mean number of peaks listed for a blank.")] = 5.0,
    jitter: Annotated[float, Option(min=0, help="Error of listed positions, pixels.")] = 0.3,
    photons: Annotated[float, Option(min=0, help="Mean photons of a full reflection at q = 0.")] = 900.0,
    background: Annotated[float, Option(min=0, help="Factor on the background.")] = 1.0,
    dtype: Annotated[str, Option(help="Type of the pixels: i4, f4, u2, ...")] = "i4",
    size: Annotated[str, Option(help="Width and height of the built-in detector, pixels.")] = "2068x2162",
    res: Annotated[float, Option(min=1, help="Pixels per metre of the built-in detector.")] = 5814.0,
    geometry: Annotated[Path | None, Option("--geometry", "-g", help="Geometry file instead of it.")] = None,
    cell: Annotated[Path | None, Option("--pdb", "-p", help="Unit cell file (.cell, .pdb); else lysozyme.")] = None,
    space_group: Annotated[str | None, Option(help="For the file's cell, e.g. 'P 43 21 2'.")] = None,
    energy: Annotated[float, Option(min=1, help="Photon energy, eV.")] = 9500.0,
    distance: Annotated[float, Option(min=1, help="Detector distance, mm.")] = 130.0,
    seed: Annotated[int, Option(min=0, help="Everything random follows from it.")] = 0,
    truth: Annotated[Path | None, Option(help="Write what is true of each frame there, a JSON object a line.")] = None,
    write_geometry: Annotated[Path | None, Option(help="Write the geometry file that goes with the frames.")] = None,
    write_cell: Annotated[Path | None, Option(help="Write the cell file that goes with the frames.")] = None,
    serve: Annotated[bool, Option("--serve/--files-only", help="Serve frames, or only write those two files.")] = True,
) -> None:
    """Send simulated diffraction frames over ZeroMQ.

    The frames are physically computed stills with known truth: Wilson intensities, Gaussian partiality, polarisation,
    Poisson noise, a smooth background, blanks between the hits and spurious peaks in the lists. Frame n of a seed is always
    the same, under the event id "sim // n".
    """
    from pipeline import UserError
    from stages.serving import FrameServer
    from stages.simulation.apparatus import Apparatus
    from stages.simulation.settings import Settings
    from stages.simulation.truth import TruthWriter

    log = logging.getLogger("streamajig.simulate")
    if style not in ("seed", "om"):
        raise UserError(f"--format={style}: give seed or om")
    chosen: Literal["seed", "om"] = "seed" if style == "seed" else "om"
    settings = Settings(
        seed=seed,
        hits=hits,
        spurious=spurious,
        blank_peaks=blank_peaks,
        peaks_per_hit=peaks_per_hit,
        jitter_px=jitter,
        photons=photons,
        background=background,
        dtype=dtype,
    )
    apparatus = Apparatus.make(
        settings,
        style=chosen,
        image=image,
        geometry=geometry,
        size=size,
        res=res,
        cell=cell,
        space_group=space_group,
        energy_ev=energy,
        distance_mm=distance,
    )
    for note in apparatus.notes:
        log.warning("%s", note)
    write_file(write_geometry, apparatus.geometry_text, "--write-geometry")
    write_file(write_cell, apparatus.cell_text, "--write-cell")
    if not serve:
        return
    apparatus.simulation.frame(0, pixels=image)  # compiles and makes the tables before anybody waits for a frame
    stopping = threading.Event()
    with ExitStack() as stack:
        stack.enter_context(_stopped_by_signals(stopping))
        record = stack.enter_context(TruthWriter(truth)) if truth else None
        server = stack.enter_context(
            FrameServer(
                bind,
                "pub" if publish else "rep",
                topic=topic.encode() or None,
                request=request.encode(),
                rate_hz=rate or None,
            )
        )
        how = f"publishing as {topic!r}" if publish else f"answering the request {request!r}"
        log.info("serving frames at %s, %s; Ctrl-C ends it", server.address, how)
        bodies = apparatus.wire.bodies(
            apparatus.simulation.frames(frames or None, pixels=image),
            (lambda frame: record.write(frame.truth)) if record else None,
        )
        server.serve(bodies, stopping)
        sent = server.sent
    typer.echo(f"streamajig simulate: {sent} frames sent", err=True)


def write_file(path: Path | None, text: str, option: str) -> None:
    """Write a text file that the user asked for with this option; nothing if it was not asked for."""
    from pipeline import UserError

    if path is None:
        return
    try:
        path.write_text(text)
    except OSError as error:
        raise UserError(f"{option}: cannot write {path}: {error.strerror}") from error


@contextmanager
def _stopped_by_signals(stopping: threading.Event) -> Iterator[None]:
    """Let SIGINT and SIGTERM set `stopping`; outside the main thread, where Python allows no handlers, do nothing."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        stopping.set()

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
