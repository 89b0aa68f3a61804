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
from collections.abc import Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from judge import Judge, Wrong
from mutators import KINDS, Mutator

HANGS_S = 30.0
"""A message takes a millisecond or two."""

KEEP = 200
"""So many wrong ones are told each by each process."""


def resident_bytes() -> int:
    """Memory of this process."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) * 1024


def judge_many(
    seed: int, numbers: range, at: Any, until: float
) -> tuple[Counter[str], list[tuple[int, str, str]], int]:
    """Judge these messages; what was counted, which were wrong and why, and how many were judged."""
    mutator, judge = Mutator(seed), Judge()
    wrong: list[tuple[int, str, str]] = []
    done = 0
    early = 0
    for number in numbers:
        at[0], at[1] = number, time.time()
        kind, body = mutator.message(number)
        judge.counts[f"made: {kind}"] += 1
        try:
            judge(body)
        except Wrong as error:
            judge.counts["wrong"] += 1
            if len(wrong) < KEEP:
                wrong.append((number, kind, str(error)))
        done += 1
        if done == 1 + len(numbers) // 10:
            early = resident_bytes()
        if time.time() > until:
            break
    judge.counts["grown by bytes, most"] = resident_bytes() - early
    return judge.counts, wrong, done


def _work(seed: int, numbers: range, at: Any, until: float, results: Any) -> None:
    results.send(judge_many(seed, numbers, at, until))


class Piece:
    """A process at work on some of the messages."""

    def __init__(self, context: Any, seed: int, numbers: range, until: float) -> None:
        self.numbers = numbers
        self.at = context.Array("d", [numbers.start, time.time()], lock=False)
        self.results, theirs = context.Pipe(duplex=False)
        self.process: BaseProcess = context.Process(target=_work, args=(seed, numbers, self.at, until, theirs))
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


def fuzz(
    seed: int, numbers: range, processes: int, until: float
) -> tuple[Counter[str], list[tuple[int, str, str]], int]:
    """Judge the messages in several processes; as `judge_many`, with those on which a process died or hung."""
    context = multiprocessing.get_context("spawn")
    size = -(-len(numbers) // processes)
    pieces = [Piece(context, seed, numbers[n * size : (n + 1) * size], until) for n in range(processes)]
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
                pieces.append(Piece(context, seed, rest, until))
        else:
            grown = max(counts["grown by bytes, most"], found[0].pop("grown by bytes, most"))
            counts.update(found[0])
            counts["grown by bytes, most"] = grown
            wrong += found[1]
            done += found[2]
    return counts, sorted(wrong), done


def table(counts: Counter[str], done: int) -> str:
    """What was counted, as Markdown."""
    made = ", ".join(f"{kind} {counts[f'made: {kind}']}" for kind in KINDS)
    names = [name for name in counts if not name.startswith(("made", "rejected", "grown", "wrong", "crashed"))]
    rows = [("messages", str(done)), ("changed by", made), *((name, str(counts[name])) for name in names)]
    rows += [(name, str(count)) for name, count in counts.most_common() if name.startswith("rejected")]
    rows += [("wrong", str(counts["wrong"])), ("of these crashed or hung", str(counts["crashed or hung"]))]
    rows += [("memory grown by, at most", f"{counts['grown by bytes, most'] / 1e6:.1f} MB")]
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
