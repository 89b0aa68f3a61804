"""How one thing is measured: a sender at work, a run or CrystFEL beside it, and what is said of it afterwards."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from subprocess import Popen
from typing import Any

SCALING = Path(__file__).parents[1] / "scaling"
sys.path.insert(0, str(SCALING))

import crystfel  # noqa: E402 - of this study, as the following ones
from figures import LOOP, PEER, Place, Sample  # noqa: E402
from load import CASES, Frames  # noqa: E402
from programs import end, program, said_by  # noqa: E402 - of the study of scaling
from window import Window, watch  # noqa: E402

AT_HALF_THE_RATE = 300
"""Frames of a window at half the rate, at least: of fewer, one in a hundred is one or two."""


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
            longer = replace(self, least=max(self.least, AT_HALF_THE_RATE))
            slower = longer._chain(made, place, case, backend, sample.window.rate / 2)
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


def listed(text: str) -> list[str]:
    """Read a list with commas."""
    return [word for word in text.split(",") if word]
