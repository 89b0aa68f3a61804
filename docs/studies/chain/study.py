"""What does a frame cost from a sender in another process to a stream on disk, beside a loop that only receives it?

    python docs/studies/chain/study.py [--full]

Messages are simulated once, kept in a folder, and sent from a process of their own that answers requests. Each is processed
by the whole chain as ``streamajig index`` makes it: (a) listed peaks without pixels, (b) listed peaks with pixels in the message
and ``--no-image-data``, (c) peakfinder8, exact and sampled, with the cell, and (d) listed peaks without it. Beside it stand a loop
that receives the same messages and does nothing else, and, with ``--crystfel PATH/indexamajig``, CrystFEL. What is compared takes
turns, round after round. Everything is measured for some seconds, after the first frames, from outside: processor time and
memory of all processes of a run together, not those of the sender.

Without options it takes a few minutes; ``--full`` measures all sizes, parts of hits, transports and backends, for hours.
``--write`` keeps the figures, tables and the plot beside this file. On a machine that others use too, few rows are worth
much: the column *others' cores* says so.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from subprocess import Popen
from typing import Any

HERE = Path(__file__).parent
SCALING = HERE.parent / "scaling"
sys.path[:0] = [str(HERE), str(SCALING)]

import crystfel  # noqa: E402 - of this study, as the following ones
from load import CASES, SIZES, Case, Frames, frames  # noqa: E402
from programs import end, program, said_by  # noqa: E402 - of the study of scaling
from tables import LOOP, PEER, Place, Sample, draw, kept, summary, tables  # noqa: E402
from window import Window, watch  # noqa: E402

TABLES = ("<!-- tables -->\n", "\n<!-- end -->")


@dataclass(frozen=True)
class Bench:
    """How everything is measured.

    Attributes
    ----------
    folder
        For what runs write.
    warm
        Frames before the window.
    seconds, least
        Of the window; and the frames that it has at least.
    half_load
        Whether the latency is measured at half the rate, too.
    """

    folder: Path
    warm: int
    seconds: float
    least: int
    half_load: bool

    def watch(self, said: Iterator[dict[str, Any]], run: Popen[Any], sender: Popen[str]) -> Window:
        """Measure a run that says how far it is."""
        return watch(said, run.pid, sender.pid, warm=self.warm, seconds=self.seconds, least=self.least)

    @contextlib.contextmanager
    def sending(self, made: Frames, place: Place, rate: float | None = None) -> Iterator[tuple[Popen[str], str]]:
        """A sender at work, and its address."""
        bind = {"tcp": "tcp://127.0.0.1:*", "ipc": f"ipc://{self.folder}/frames"}[place.transport]
        words = ["rep", str(made.hits), "--blanks", str(made.blanks), "--hits", str(place.hits), "--bind", bind]
        with program(SCALING / "sender.py", *words, *(["--rate", str(rate)] if rate else [])) as sender:
            assert sender.stdout is not None
            yield sender, sender.stdout.readline().strip()
            end(sender)

    def loop(self, made: Frames, place: Place) -> Sample:
        """Measure what only receives."""
        with (
            self.sending(made, place) as (sender, address),
            program(SCALING / "receiver.py", "loop", address, "rep") as run,
        ):
            found = self.watch(said_by(run), run, sender)
            end(run)
        return Sample(place, "", LOOP, found)

    def chain(self, made: Frames, place: Place, case: str, backend: str) -> Sample:
        """Measure the whole chain: as fast as it goes, and then, if that is asked for, at half the rate."""
        sample = self._chain(made, place, case, backend, None)
        if self.half_load:
            slower = self._chain(made, place, case, backend, sample.window.rate / 2)
            sample = replace(sample, half_load_ms=slower.latency_ms)
        return sample

    def _chain(self, made: Frames, place: Place, case: str, backend: str, rate: float | None) -> Sample:
        file = self.folder / "study.yaml"
        with self.sending(made, place, rate) as (sender, address):
            graph = made.graph(CASES[case], address, self.folder / "out.stream").with_options(backend=backend)
            file.write_text(graph.to_yaml())
            with program(SCALING / "receiver.py", "chain", str(file), str(self.warm)) as run:
                found = self.watch(said_by(run), run, sender)
                said = end(run)
        (half, nearly_all), nodes_ms = said["window"]["receipt_to_disk_ms"], said["window"]["nodes_ms"]
        tally = said["report"]["leaves"]["sink"]
        parts = {name: tally["counts"].get(name, 0) / max(tally["delivered"], 1) for name in ("hits", "indexed")}
        return Sample(place, case, backend, found, (half, nearly_all), None, parts, nodes_ms)

    def peer(self, made: Frames, place: Place, case: str, setting: str, indexamajig: Path) -> Sample:
        """Measure CrystFEL."""
        stream = self.folder / "crystfel.stream"
        with self.sending(made, place) as (sender, address):
            words = crystfel.command(indexamajig, made, CASES[case], setting, address, stream)
            with crystfel.running(words, self.folder) as process:
                said = crystfel.progress(process, sender, self.folder / "crystfel.log")
                found = self.watch(said, process, sender)
        return Sample(place, case, PEER + setting, found, found=crystfel.found_in(stream.read_text()))


def measured(bench: Bench, given: argparse.Namespace, among: Path) -> Iterator[Sample]:
    """One round."""
    cases: dict[str, Case] = {name: CASES[name] for name in given.cases}
    kinds = [pixels for pixels in (False, True) if any(case.pixels == pixels for case in cases.values())]
    for size, pixels, hits, transport in itertools.product(given.sizes, kinds, given.hits, given.transports):
        made = frames(among, size, pixels, given.frames if pixels else 5 * given.frames)
        place = Place(size, pixels, hits, transport)
        yield bench.loop(made, place)
        for name in (name for name, case in cases.items() if case.pixels == pixels):
            for backend in given.backends:
                yield bench.chain(made, place, name, backend)
            if given.crystfel and transport == given.transports[0]:
                for setting in list(cases[name].crystfel)[: given.settings]:
                    yield bench.peer(made, place, name, setting, given.crystfel)


def listed(text: str) -> list[str]:
    """Read a list with commas."""
    return [word for word in text.split(",") if word]


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """What is to be measured."""
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").split("\n\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--full", action="store_true", help="all there is, in three rounds; other options still count")
    is_full = parser.parse_known_args(arguments)[0].full
    choose = (lambda _, full: full) if is_full else (lambda usual, _: usual)
    usual = ["a", "b", "c-sampled", "c-exact", "d"]
    parser.add_argument("--cases", type=listed, default=choose(usual, list(CASES)))
    parser.add_argument("--sizes", type=listed, default=choose(["4.5"], list(SIZES)), help="Mpx, or WxH@DISTANCE_MM")
    parser.add_argument(
        "--hits", type=lambda text: [float(part) for part in listed(text)], default=choose([0.3], [1.0, 0.3, 0.03])
    )
    parser.add_argument("--transports", type=listed, default=["tcp", "ipc"])
    parser.add_argument("--backends", type=listed, default=["serial", "threads:2", "processes:2"])
    parser.add_argument("--frames", type=int, default=12, help="hits made beforehand, and as many blanks")
    parser.add_argument("--warm", type=int, default=choose(60, 150), help="frames before each measurement")
    parser.add_argument("--seconds", type=float, default=choose(3.0, 10.0), help="of each measurement")
    parser.add_argument("--least", type=int, default=choose(50, 200), help="frames of each measurement")
    parser.add_argument("--rounds", type=int, default=choose(1, 3))
    parser.add_argument(
        "--half-load", action=argparse.BooleanOptionalAction, default=is_full, help="latency at half the rate, too"
    )
    parser.add_argument("--crystfel", type=Path, help="indexamajig of CrystFEL 0.12, to be measured beside")
    parser.add_argument("--settings", type=int, default=choose(1, 9), help="of CrystFEL, for each case at most")
    parser.add_argument("--keep", type=Path, help="folder in which the messages are kept for the next time")
    parser.add_argument("--write", type=Path, help="folder with README.md for figures, tables and the plot")
    return parser.parse_args(arguments)


def write(rounds: Sequence[Sequence[Sample]], given: argparse.Namespace, folder: Path) -> None:
    """Keep figures and plot in a folder, and put the summary into its page."""
    setting = {name: str(value) for name, value in vars(given).items() if name not in ("keep", "write", "crystfel")}
    figures = {"setting": setting, "rounds": kept(rounds)}
    (folder / "figures.json").write_text(json.dumps(figures, indent=1) + "\n")
    (folder / "figures.md").write_text(f"# All figures of the whole chain\n\n{tables(rounds)}\n")
    draw(rounds, folder / "chain.svg")
    page = folder / "README.md"
    before, _, rest = page.read_text(encoding="utf-8").partition(TABLES[0])
    _, _, after = rest.partition(TABLES[1])
    page.write_text(before + TABLES[0] + summary(rounds) + TABLES[1] + after, encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> list[list[Sample]]:
    """Measure in turns, and print the tables."""
    given = parse(arguments)
    rounds: list[list[Sample]] = []
    with tempfile.TemporaryDirectory(prefix="chain-") as folder:
        among = given.keep or Path(folder) / "frames"
        among.mkdir(parents=True, exist_ok=True)
        bench = Bench(Path(folder), given.warm, given.seconds, given.least, given.half_load)
        for k in range(given.rounds):
            rounds.append([])
            for one in measured(bench, given, among):
                rounds[-1].append(one)
                found = one.window
                said = f"{found.rate:.1f} frames/s, {found.cpu_ms:.2f} ms a frame, sender busy {found.sender_busy:.0%}"
                sys.stderr.write(f"round {k + 1}, {one.case} {one.worker} {tuple(one.place)}: {said}\n")
    sys.stdout.write(f"{tables(rounds)}\n\nOne worker:\n\n{summary(rounds)}\n")
    if given.write:
        write(rounds, given, given.write)
    return rounds


if __name__ == "__main__":
    main()
