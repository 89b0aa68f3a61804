"""Very many wrong messages through decode, geometry and peaks: does anything crash, hang, or accept what is no frame?

    python tests/hostile/fuzz.py [--messages 1000000] [--first 0] [--seed 1] [--processes 2] [--most-s 500]

Each message follows from the seed and its number (`mutators.py`); what the stages make of it is held against a slow reader that
was written from the formats' specifications (`judge.py`, `slow_reader.py`). Each process says in shared memory which message it
has at hand, so that one that dies or hangs names it, and another takes over behind it. Prints a table, the messages that
something was wrong with, and how far it came; the exit status is 1 if there are any.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from judge import Judge, Wrong
from mutators import KINDS, Mutator

HANGS_S = 30.0
"""A message takes a millisecond or two."""

WARM = 500
"""After so many messages nothing is imported or compiled any longer, and how long one takes is looked at."""

GROWN, SLOWEST = "most bytes grown by", "most microseconds"
"""Of what is counted, what is a maximum."""

KEEP = 200
"""So many wrong ones are told each by each process."""


def resident_bytes() -> int:
    """Memory of this process."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) * 1024


Makes = Callable[[int], tuple[Any, Any]]
"""Of a seed, who makes messages and who judges them."""

Found = tuple[Counter[str], list[tuple[int, str, str]], int]
"""What was counted, which messages were wrong and why, and how many were judged."""


def of_maps(seed: int) -> tuple[Mutator, Judge]:
    """Maps in MessagePack."""
    return Mutator(seed), Judge()


def judge_many(seed: int, numbers: range, at: Any, until: float, makes: Makes = of_maps) -> Found:
    """Judge these messages."""
    mutator, judge = makes(seed)
    wrong: list[tuple[int, str, str]] = []
    done = 0
    early = 0
    for number in numbers:
        at[0], at[1] = number, time.time()
        kind, body = mutator.message(number)
        judge.counts[f"made: {kind}"] += 1
        began_s = time.process_time()
        try:
            judge(body)
        except Wrong as error:
            judge.counts["wrong"] += 1
            if len(wrong) < KEEP:
                wrong.append((number, kind, str(error)))
        if done >= WARM:
            judge.counts[SLOWEST] = max(judge.counts[SLOWEST], round(1e6 * (time.process_time() - began_s)))
        done += 1
        if done == 1 + len(numbers) // 10:
            early = resident_bytes()
        if time.time() > until:
            break
    judge.counts[GROWN] = resident_bytes() - early
    return judge.counts, wrong, done


def _work(seed: int, numbers: range, at: Any, until: float, results: Any, makes: Makes) -> None:
    results.send(judge_many(seed, numbers, at, until, makes))


class Piece:
    """A process at work on some of the messages."""

    def __init__(self, context: Any, seed: int, numbers: range, until: float, makes: Makes) -> None:
        self.numbers = numbers
        self.at = context.Array("d", [numbers.start, time.time()], lock=False)
        self.results, theirs = context.Pipe(duplex=False)
        self.process: BaseProcess = context.Process(target=_work, args=(seed, numbers, self.at, until, theirs, makes))
        self.process.start()
        theirs.close()

    def look(self) -> tuple[Any, str]:
        """What came of it, and how it ended if it has not come to its end."""
        if self.results.poll(0.1):
            try:
                found = self.results.recv()
                self.process.join()
                return found, ""
            except EOFError:
                self.process.join()
                return None, f"the process ended with status {self.process.exitcode}"
        if time.time() - self.at[1] > HANGS_S:
            self.process.kill()
            self.process.join()
            return None, f"it took longer than {HANGS_S:g} s"
        return None, ""


def fuzz(seed: int, numbers: range, processes: int, until: float, makes: Makes = of_maps) -> Found:
    """Judge the messages in several processes; as `judge_many`, with those on which a process died or hung."""
    context = multiprocessing.get_context("spawn")
    size = -(-len(numbers) // processes)
    pieces = [Piece(context, seed, numbers[n * size : (n + 1) * size], until, makes) for n in range(processes)]
    counts: Counter[str] = Counter()
    wrong: list[tuple[int, str, str]] = []
    done = 0
    while pieces:
        piece = pieces.pop(0)
        found, died = piece.look()
        if found is None and not died:
            pieces.append(piece)
        elif died:
            number = int(piece.at[0])
            wrong.append((number, "?", died))
            counts["wrong"] += 1
            counts["crashed or hung"] += 1
            done += number + 1 - piece.numbers.start
            if rest := range(number + 1, piece.numbers.stop):
                pieces.append(Piece(context, seed, rest, until, makes))
        else:
            most = {name: max(counts[name], found[0][name]) for name in (GROWN, SLOWEST)}
            counts.update(found[0])
            counts.update({name: most[name] - counts[name] for name in most})
            wrong += found[1]
            done += found[2]
    return counts, sorted(wrong), done


def table(counts: Counter[str], done: int, kinds: Iterable[str] = KINDS) -> str:
    """What was counted, as Markdown."""
    made = ", ".join(f"{kind} {counts[f'made: {kind}']}" for kind in kinds)
    names = [name for name in counts if not name.startswith(("made", "rejected", "most", "wrong", "crashed"))]
    rows = [("messages", str(done)), ("changed by", made), *((name, str(counts[name])) for name in names)]
    rows += [(name, str(count)) for name, count in counts.most_common() if name.startswith("rejected")]
    rows += [("wrong", str(counts["wrong"])), ("of these crashed or hung", str(counts["crashed or hung"]))]
    rows += [("memory grown by, at most", f"{counts[GROWN] / 1e6:.1f} MB")]
    rows += [("processor time of one message, at most", f"{counts[SLOWEST] / 1000:.1f} ms")]
    return "\n".join(["| what | how many |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows)])


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the arguments, judge, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--most-s", type=float, default=1e9, help="stop after so many seconds, and say how far it came")
    given = parser.parse_args(arguments)
    started = time.time()
    numbers = range(given.first, given.first + given.messages)
    counts, wrong, done = fuzz(given.seed, numbers, given.processes, started + given.most_s)
    print(table(counts, done))
    for number, kind, why in wrong:
        print(f"seed {given.seed}, message {number} ({kind}): {why}")
    print(f"{done} messages of seed {given.seed} from {given.first} on in {time.time() - started:.0f} s")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
