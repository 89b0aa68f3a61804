"""``streamajig diagnose``: what is wrong with an experiment, told from a stream or from recorded messages."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from pipeline import Findings
    from stages.commands.stream_frames import StreamFrames


def diagnose(
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE...", help="A stream, or recorded messages (.msgpack, .bin, also .gz) and folders of them."
        ),
    ],
    geometry: Annotated[
        Path | None,
        typer.Option("--geometry", "-g", metavar="FILE.geom", help="For messages; a stream brings its own."),
    ] = None,
    cell: Annotated[
        Path | None, typer.Option("--pdb", "-p", metavar="FILE.cell", help="For messages; a stream brings its own.")
    ] = None,
    peaks: Annotated[str | None, typer.Option("--peaks", metavar="METHOD", help="For messages, as for index.")] = None,
    min_peaks: Annotated[
        int | None, typer.Option("--min-peaks", metavar="N", help="For messages, as for index.")
    ] = None,
    jobs: Annotated[int, typer.Option("-j", min=1, metavar="N", help="Process this many frames at once.")] = 1,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE.geom", help="Write the corrected geometry file there."),
    ] = None,
    picture: Annotated[
        Path | None, typer.Option("--picture", metavar="FILE.png", help="Draw where peaks and crystals are.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Write over files that are there.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print findings and figures as JSON.")] = False,
) -> None:
    """Say what is wrong with the experiment, from a stream or recorded messages: where the detector is, rings, thresholds ...

    What ``streamajig index`` says while it runs, of what is there already. A stream has peaks and crystals and no pixels, so
    nothing is said of gaps, hot pixels and the like.
    """
    from pipeline import UserError
    from pipeline.paths import ask_before_overwriting, by_option, keep_apart
    from stages.files.stream import is_stream

    drawn = by_option(picture=picture)
    keep_apart(by_option(file=files, geometry=geometry, pdb=cell), [*by_option(output=output), *drawn])
    ask_before_overwriting(drawn, force)
    streams = [path for path in files if is_stream(path)]
    if streams and len(files) > 1:
        raise UserError("give one stream, or recorded messages: each stream has a geometry file of its own")
    if streams and any(option is not None for option in (geometry, cell, peaks, min_peaks)):
        raise UserError(
            f"{streams[0]} is a stream, which has its own geometry file, cell and peaks: leave -g, -p and --peaks out"
        )
    with tempfile.TemporaryDirectory() as folder:
        if streams:
            stream, found = streams[0], of_stream(streams[0], output, force)
        else:
            options = {"geometry": geometry, "pdb": cell, "peaks": peaks, "min_peaks": min_peaks, "j": jobs}
            stream, found = _of_messages(files, Path(folder) / "diagnosed.stream", output, options, force)
        if picture is not None:
            from stages.commands.diagnosis_picture import draw

            frames = _frames(stream)
            draw(picture, frames, found.text, ", ".join(path.name for path in files), frames.given_cell)
    if as_json:
        print(json.dumps(found.figures, indent=2, allow_nan=False))  # noqa: T201 - this is the command's output
    else:
        print(found.text)  # noqa: T201


def _frames(path: Path) -> StreamFrames:
    from stages.commands.stream_frames import StreamFrames

    return StreamFrames(path)


def of_stream(path: Path, corrected: Path | None, force: bool = False) -> Findings:
    """Diagnose a stream from its peaks and crystals."""
    from pipeline import Context
    from pipeline.by_type import ByType
    from stages.live.diagnosis import Diagnosis

    frames = _frames(path)
    known = [frames.detector] if frames.target is None else [frames.detector, frames.target]
    context = Context(node="diagnose", upstream=ByType(known))
    stage = Diagnosis(path=corrected, force=force)
    look, writer = stage.open(context), stage.open_writer(context)
    try:
        for frame in frames:
            writer.write(look(frame))
        return writer.findings()
    finally:
        writer.close()


def _of_messages(
    files: Iterable[Path], stream: Path, corrected: Path | None, options: Mapping[str, object], force: bool
) -> tuple[Path, Findings]:
    """Diagnose recorded messages: index them, with the diagnosis in the graph, into a stream that goes afterwards."""
    from dataclasses import replace

    from pipeline.running.job import run
    from stages.commands.index.graph import graph_from_options
    from stages.wire.recorded import expand

    given = {**options, "input": str(stream), "output": stream, "cell_parameters_only": True, "in_order": True}
    listed = tuple(expand(list(files)))
    given["input"] = str(listed[0])
    graph = graph_from_options(given)
    source = replace(graph.node("source").stage, files=listed)
    diagnosis = replace(graph.node("diagnosis").stage, path=corrected, force=force)
    graph = graph.replace("source", source).replace("diagnosis", diagnosis)
    report = run(graph)
    return stream, report.findings["diagnosis"]
