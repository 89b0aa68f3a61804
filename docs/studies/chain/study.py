"""What does a frame cost from a sender in another process to a stream on disk, beside a loop that only receives it?

    python docs/studies/chain/study.py [--full]

Messages are simulated once, kept in a folder, and sent from a process of their own that answers requests. Each is processed
by the whole chain as ``streamajig index`` makes it: (a) listed peaks without pixels, (b) listed peaks with pixels in the
message and ``--no-image-data``, (c) peakfinder8, exact and sampled, with the cell, and (d) listed peaks without it. Beside
it stand a loop that receives the same messages and does nothing else, and, with ``--crystfel PATH/indexamajig``, CrystFEL.
What is compared takes turns, round after round. Everything is measured for some seconds, after the first frames, from
outside: processor time and memory of all processes of a run together, not those of the sender.

Without options it takes a few minutes; ``--full`` measures all sizes, parts of hits, transports and backends, for hours.
``--write FOLDER`` keeps figures and plot and puts the summary into the README.md there (this study's, for one); ``--show
FOLDER/figures.json`` prints all tables again, and several such files with ``--write`` become one. On a machine that others
use too, few rows are worth much: the column *others' cores* says so.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from bench import Bench, listed  # noqa: E402 - of this study, as the following ones
from crystfel import StandsStillError  # noqa: E402
from figures import Place, Sample, draw, kept, others, summary, tables  # noqa: E402
from load import CASES, SIZES, Case, frames  # noqa: E402

TABLES = ("<!-- tables -->\n", "\n<!-- end -->")


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
                    try:
                        yield bench.peer(made, place, name, setting, given.crystfel)
                    except StandsStillError as stands_still:
                        sys.stderr.write(f"CrystFEL is left out here: {stands_still}\n")


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
    parser.add_argument("--write", type=Path, help="folder with README.md for figures, summary and plot")
    parser.add_argument(
        "--show",
        type=Path,
        nargs="+",
        help="figures.json of earlier times: measure nothing, print their tables together",
    )
    return parser.parse_args(arguments)


def write(rounds: Sequence[Sequence[Sample]], given: argparse.Namespace, folder: Path) -> None:
    """Keep figures and plot in a folder, and put the summary into its page."""
    setting = {
        name: str(value) for name, value in vars(given).items() if name not in ("keep", "write", "show", "crystfel")
    }
    figures = {"setting": setting, "rounds": kept(rounds)}
    (folder / "figures.json").write_text(json.dumps(figures, indent=1) + "\n")
    draw(rounds, folder / "chain.svg")
    page = folder / "README.md"
    before, _, rest = page.read_text(encoding="utf-8").partition(TABLES[0])
    _, _, after = rest.partition(TABLES[1])
    found = "\n\n".join(filter(None, (summary(rounds), others(rounds))))
    page.write_text(before + TABLES[0] + found + TABLES[1] + after, encoding="utf-8")


def measure(given: argparse.Namespace, rounds: list[list[Sample]]) -> None:
    """Measure all rounds, and add to them what was found as it is found."""
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


def main(arguments: Sequence[str] | None = None) -> list[list[Sample]]:
    """Measure in turns, and print the tables."""
    given = parse(arguments)
    rounds: list[list[Sample]] = []
    for file in given.show or ():
        for k, samples in enumerate(json.loads(file.read_text())["rounds"]):
            rounds[k : k + 1] = [[*(rounds[k] if k < len(rounds) else []), *map(Sample.load, samples)]]
    try:
        if not given.show:
            measure(given, rounds)
    finally:  # of a bench that lasts hours what there is counts, whatever ended it
        sys.stdout.write(f"{tables(rounds)}\n\nOne worker:\n\n{summary(rounds)}\n\nOthers:\n\n{others(rounds)}\n")
        if given.write and any(rounds):
            write(rounds, given, given.write)
    return rounds


if __name__ == "__main__":
    main()
