"""How many frames per second does the whole chain take, by backend and number of replicas, and what does a frame cost?

    python docs/studies/scaling/study.py --backends threads:1,threads:2,processes:1,processes:2

Simulated frames with pixels are made beforehand and sent from a process of their own, answering requests (``rep``) or
publishing without loss (``pub``). A graph searches peaks, indexes with the cell, refines, integrates and writes a stream.
Beside it stands a loop that only receives: what the sender and one socket give. Everything is measured for some seconds in
full swing, processor time from outside, of all processes of a run together. The measurements take turns, round after round; a
ratio is that of two measurements of one round, and the table has the median of all rounds. ``--figures FILE`` keeps
everything, ``--picture FILE`` draws the curve (extra ``pictures``).

The sender needs cores too: give it its own where there are some (``--sender-cores 14,15 --cores 0-13``).
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from measuring import Load, measure_undisturbed, parse  # noqa: E402 - of this study
from results import LOOP, Sample, draw, table  # noqa: E402


def main(arguments: Sequence[str] | None = None) -> list[list[Sample]]:
    """Measure in turns, and print the tables."""
    given = parse(arguments, (__doc__ or "").split("\n\n")[0])
    rounds: list[list[Sample]] = []
    with tempfile.TemporaryDirectory() as folder:
        load = Load.make(Path(folder), given)
        sys.stderr.write(f"{given.frames} frames of {load.message_bytes / 1e6:.1f} MB\n")
        for k in range(given.rounds):
            rounds.append([])
            for socket in given.sockets:
                for backend in (*given.backends, LOOP):
                    if socket == "pub" and backend.startswith("dask"):
                        continue  # a subscription has one subscriber; a cluster takes it from streamajig relay
                    sample = measure_undisturbed(load, socket, backend, given)
                    rounds[-1].append(sample)
                    sys.stderr.write(f"round {k + 1}, {socket}, {backend}: {sample.rate:.1f} frames/s, {sample}\n")
    if given.figures:
        setting = {name: str(value) for name, value in vars(given).items()}
        kept = {
            "setting": setting,
            "message_bytes": load.message_bytes,
            "megapixels": load.megapixels,
            "rounds": [[asdict(one) for one in samples] for samples in rounds],
        }
        given.figures.write_text(json.dumps(kept, indent=1) + "\n")
    for socket in given.sockets:
        sys.stdout.write(f"\n{socket}, {load.message_bytes / 1e6:.1f} MB a frame\n\n")
        sys.stdout.write(table(rounds, socket) + "\n")
    if given.picture:
        draw(rounds, given.picture)
    return rounds


if __name__ == "__main__":
    main()
