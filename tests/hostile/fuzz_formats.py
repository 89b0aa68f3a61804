"""Very many hostile messages of a data format through its decoder and the geometry: does anything crash, hang, or lie?

    python tests/hostile/fuzz_formats.py FORMAT [--messages 200000] [--first 0] [--seed 1] [--processes 1] [--most-s 1e9]

FORMAT is hdf5, cbf, cbf.gz, npy, seedee, dectris1, dectris2, karabo-2.2, karabo-1.0, or all; MessagePack has a fuzzer of its
own (`fuzz.py`), whose processes do the work here too. Each message follows from the seed and its number (`format_mutators.py`);
what comes of it is judged by `format_judge.py`. Prints a table, the messages that something was wrong with, and how long it
took; the exit status is 1 if there are any.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from collections.abc import Sequence
from functools import partial

from format_judge import FormatJudge
from format_messages import GOOD
from format_mutators import KINDS, FormatMutator
from fuzz import fuzz, table


def of_format(name: str, seed: int) -> tuple[FormatMutator, FormatJudge]:
    """Who makes messages of a format, and who judges them; a warning is as wrong as an error."""
    warnings.simplefilter("error")
    return FormatMutator(name, seed), FormatJudge(name)


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the arguments, judge, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("format", choices=[*GOOD, "all"])
    parser.add_argument("--messages", type=int, default=200_000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--most-s", type=float, default=1e9, help="stop after so many seconds, and say how far it came")
    given = parser.parse_args(arguments)
    any_wrong = False
    for name in GOOD if given.format == "all" else [given.format]:
        started = time.time()
        numbers = range(given.first, given.first + given.messages)
        until = started + given.most_s
        counts, wrong, done = fuzz(given.seed, numbers, given.processes, until, partial(of_format, name))
        print(f"\n{name}\n\n{table(counts, done, KINDS)}")
        for number, kind, why in wrong:
            print(f"{name}, seed {given.seed}, message {number} ({kind}): {why}")
        print(
            f"{done} messages of seed {given.seed} from {given.first} on in {time.time() - started:.0f} s", flush=True
        )
        any_wrong = any_wrong or bool(wrong)
    return 1 if any_wrong else 0


if __name__ == "__main__":
    sys.exit(main())
