"""What CrystFEL's programs make of our stream, and of indexamajig's of the same frames.

``python downstream.py --hits 200 --seed 5`` (some minutes) simulates hits, sends them to ``streamajig index`` and to
indexamajig, merges both streams with process_hkl, process_hkl --scale and partialator, and prints how far the merged
intensities are from the truth. CrystFEL's programs must be on the PATH. ``--orientations ours`` has indexamajig start
from the crystals in our stream, where its own search takes too long for the cell.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stages.files.solution import solution_lines
from stages.files.stream import read_stream
from stages.simulation.apparatus import Apparatus
from stages.simulation.settings import Settings
from stages.wire.serving import FrameServer

LOW = 40.0
"""Reflections of lower resolution, in Angstrom, are not compared."""
PROGRAMS = ("process_hkl", "process_hkl --scale", "partialator --model=xsphere --iterations=3")
NEEDED = ("indexamajig", "process_hkl", "partialator")
AFTER_LAST_S = 60.0
"""How long indexamajig may take for what it has when no more frames come."""


def arguments() -> argparse.Namespace:
    """What is simulated."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?", default=Path("downstream-output"))
    parser.add_argument("--hits", type=int, default=200)
    parser.add_argument("--seed", type=int, default=5)
    parser.add_argument("--cell", type=Path, help="cell file; lysozyme if not given")
    parser.add_argument("--space-group", help="of that cell")
    parser.add_argument("--point-group", default="4/mmm", help="for merging")
    parser.add_argument("--size", default="1024x1024")
    parser.add_argument("--distance", type=float, default=120.0, help="mm")
    parser.add_argument("--photons", type=float, default=Settings.photons)
    parser.add_argument("--sigma", type=float, default=2.5e-4, help="width of the partiality, 1/A")
    parser.add_argument("--int-radius", default="4,5,7")
    parser.add_argument("--highest", type=float, default=2.3, help="compare reflections up to this resolution, A")
    parser.add_argument("--orientations", choices=("asdf", "ours"), default="asdf")
    parser.add_argument("--jobs", type=int, default=2)
    return parser.parse_args()


def set_up(given: argparse.Namespace) -> Apparatus:
    """The simulated beamline."""
    settings = Settings(seed=given.seed, hits=1.0, photons=given.photons, excitation_sigma_per_angstrom=given.sigma)
    return Apparatus.make(
        settings, size=given.size, distance_mm=given.distance, cell=given.cell, space_group=given.space_group
    )


def serve(ready: Connection, given: argparse.Namespace) -> None:
    """Answer requests with frames until all are sent (in a process of its own)."""
    apparatus = set_up(given)
    apparatus.simulation.frame(0)
    with FrameServer(socket="rep") as server:
        ready.send(server.address)
        server.serve(apparatus.wire.bodies(apparatus.simulation.frames(given.hits), None))


def options(given: argparse.Namespace, address: str, stream: Path) -> list[str]:
    """Options that both programs take."""
    return [
        *("--zmq-input", address, "--zmq-request", "next", "--data-format", "msgpack", "-o", str(stream)),
        *("-g", str(given.folder / "study.geom"), "-p", str(given.folder / "study.cell"), "-j", str(given.jobs)),
        *("--peaks=peakfinder8", "--threshold=5", "--min-snr=5", "--min-peaks=10", f"--int-radius={given.int_radius}"),
    ]


def index(given: argparse.Namespace, name: str) -> Path:
    """Have the frames indexed by "ours" or "theirs"; return the stream."""
    stream = given.folder / f"{name}.stream"
    stream.unlink(missing_ok=True)
    spawn = multiprocessing.get_context("spawn")
    here, there = spawn.Pipe(duplex=False)
    server = spawn.Process(target=serve, args=(there, given), daemon=True)
    server.start()
    both = options(given, here.recv(), stream)
    try:
        with (given.folder / f"{name}.err").open("w") as errors:
            if name == "ours":
                ours = [str(Path(sys.executable).with_name("streamajig")), "index", "--max-frames", str(given.hits)]
                subprocess.run([*ours, *both], stdout=errors, stderr=errors, check=True)
            else:
                how = ["--indexing=asdf"]
                if given.orientations == "ours":
                    how = ["--indexing=file", f"--fromfile-input-file={solutions(given)}"]
                indexamajig(given, [*both, *how], stream, errors.fileno(), server)
    finally:
        server.terminate()
        server.join(10.0)
    return stream


def indexamajig(
    given: argparse.Namespace, more: list[str], stream: Path, errors: int, server: multiprocessing.process.BaseProcess
) -> None:
    """Run indexamajig, which waits for ever for more frames, until it has written what it got."""
    program = subprocess.Popen(
        ["indexamajig", *more],
        cwd=given.folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=errors,
        start_new_session=True,  # so that its workers can be ended with it
    )
    try:
        while server.is_alive() and program.poll() is None:
            time.sleep(0.5)
        until = time.monotonic() + AFTER_LAST_S
        while time.monotonic() < until and program.poll() is None:
            if stream.exists() and stream.read_text().count("----- End chunk") >= given.hits:
                break
            time.sleep(1.0)
    finally:
        os.killpg(program.pid, signal.SIGINT)
        time.sleep(2.0)
        os.killpg(program.pid, signal.SIGKILL)
        program.wait()


def solutions(given: argparse.Namespace) -> Path:
    """Our crystals as a solution file, under the names that indexamajig gives to the frames: the first is //1."""
    lines: list[str] = []
    for chunk in read_stream(given.folder / "ours.stream").chunks:
        crystals = [(crystal.reciprocal_per_nm, crystal.lattice, crystal.det_shift_mm) for crystal in chunk.crystals]
        lines += solution_lines("ZMQdata", f"//{int(chunk.event.split('//')[1]) + 1}", crystals)
    path = (given.folder / "ours.sol").resolve()
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def merge(given: argparse.Namespace, stream: Path, program: str) -> tuple[NDArray[np.float64], list[str]]:
    """Merge a stream; return rows of h, k, l, intensity, and the lines that the program printed as text."""
    merged = stream.with_suffix(".hkl").resolve()
    more = ["-j", str(given.jobs), "--no-logs"] if program.startswith("partialator") else []
    ran = subprocess.run(
        [*program.split(), *more, "-i", str(stream.resolve()), "-o", str(merged), "-y", given.point_group],
        cwd=given.folder,
        capture_output=True,
        text=True,
        errors="replace",
        check=True,
    )
    rows = [line.split() for line in merged.read_text().splitlines()]
    return np.array([row[:4] for row in rows if len(row) >= 6 and re.fullmatch(r"-?\d+", row[0])], float), re.split(
        r"[\r\n]+", ran.stderr
    )


def r1(given: argparse.Namespace, apparatus: Apparatus, merged: NDArray[np.float64], only: set[bytes] | None) -> str:
    """R1 to the truth, in percent, of all that was merged or of some reflections."""
    specimen, hkl = apparatus.simulation.specimen, merged[:, :3].astype(np.int64)
    d = 1.0 / np.linalg.norm(hkl @ np.linalg.inv(specimen.cell.real_space_angstrom).T, axis=1)
    truth = specimen.intensities(hkl) * np.exp(-0.5 * apparatus.simulation.settings.b_factor / d**2)
    used = (d < LOW) & (d > given.highest) & np.isfinite(merged[:, 3])
    if only is not None:
        used &= np.array([row.tobytes() in only for row in hkl])
    mean, truth = merged[used, 3], truth[used]
    off = np.abs(mean * truth.sum() / mean.sum() - truth).sum() / truth.sum()
    return f"{100 * off:.2f} ({used.sum()})"


def main() -> None:
    """Run the comparison."""
    given = arguments()
    missing = [program for program in NEEDED if shutil.which(program) is None]
    if missing:
        sys.exit(f"CrystFEL's programs are not on the PATH: {', '.join(missing)}")
    given.folder = given.folder.resolve()
    given.folder.mkdir(parents=True, exist_ok=True)
    apparatus = set_up(given)
    (given.folder / "study.geom").write_text(apparatus.geometry_text)
    (given.folder / "study.cell").write_text(apparatus.cell_text)
    streams = {name: index(given, name) for name in ("ours", "theirs")}
    sys.stdout.write(
        "| merged by | R1 % ours | R1 % theirs | of common reflections: ours | theirs |\n|---|---|---|---|---|\n"
    )
    said: dict[str, list[str]] = {name: [] for name in streams}
    for program in PROGRAMS:
        merged = {}
        for name, stream in streams.items():
            merged[name], lines = merge(given, stream, program)
            said[name] += lines
        common = set.intersection(*({row.tobytes() for row in m[:, :3].astype(np.int64)} for m in merged.values()))
        cells = [r1(given, apparatus, m, only) for only in (None, common) for m in merged.values()]
        sys.stdout.write(f"| {program} | {' | '.join(cells)} |\n")
    for name, stream in streams.items():
        crystals = [crystal for chunk in read_stream(stream).chunks for crystal in chunk.crystals]
        radii = np.array([crystal.profile_radius_per_nm for crystal in crystals])
        observed = sum(len(crystal.reflections.intensity) for crystal in crystals if crystal.reflections is not None)
        counts = {
            words: sum(words in line for line in said[name]) for words in ("too big", "Bad list", "Failed to read")
        }
        sys.stdout.write(
            f"\n{name}: {len(crystals)} crystals, {observed} observations, radius {np.median(radii):.5f} nm^-1, relative "
            f"spread {radii.std() / radii.mean():.3f}, largest {radii.max():.5f}; lines {counts}\n"
            + "".join(
                f"{line.strip()}\n" for line in said[name] if "crystals used out of" in line or "negative delta" in line
            )
        )


if __name__ == "__main__":
    main()
