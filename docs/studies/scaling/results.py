"""What measurements of scaling found, and how it is shown: a sample, a table, a picture."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pipeline.composing.backend_spec import KNOWN, describe_backend

Socket = Literal["rep", "pub"]
LOOP = "loop"
"""Stands among the backends for the loop that only receives."""


@dataclass(frozen=True)
class Sample:
    """What one measurement found, over its window.

    Attributes
    ----------
    cpu_ms, sender_ms
        Processor time of a frame: of all processes of the run, and of the sender.
    transport_ms, processes_ms
        What ZeroMQ's threads have of cpu_ms, and what each process has, the first process first.
    cores, sender_cores, others_cores
        Cores that were busy on average: with the run, with the sender, with whatever else runs on the machine.
    ready_cores
        How many more would have been busy with the run, had there been enough: threads that were ready and had to wait.
    latency_ms
        Median from receipt to the stream, and what 99 of 100 stay below, of the whole run.
    private_mb, messages_mb
        Memory of each process at the end of the window, the first process first: private, and of messages in shared memory.
    """

    backend: str
    socket: Socket
    frames: int
    seconds: float
    cpu_ms: float
    sender_ms: float
    transport_ms: float
    processes_ms: tuple[float, ...]
    cores: float
    sender_cores: float
    others_cores: float
    ready_cores: float
    latency_ms: tuple[float, float] | None = None
    private_mb: tuple[float, ...] = ()
    messages_mb: tuple[float, ...] = ()
    nodes: dict[str, float] | None = None

    @property
    def rate(self) -> float:
        """Frames per second."""
        return self.frames / self.seconds

    @property
    def free_rate(self) -> float:
        """Frames per second, had there been a core for every thread that was ready: what others leave is nobody's limit."""
        return self.rate * (self.cores + self.ready_cores) / self.cores


def median(samples: Sequence[Sample], figure: str) -> float:
    """The median of a figure over the rounds."""
    return statistics.median(getattr(one, figure) for one in samples)


def table(rounds: Sequence[Sequence[Sample]], socket: Socket) -> str:
    """What one kind of socket gives, as Markdown."""
    head = [
        *(
            "backend",
            "frames/s",
            "times the first",
            "were cores free",
            "cores busy: run",
            "sender",
            "others",
            "lacking",
        ),
        *("cpu ms a frame", "of it ZeroMQ", "sender's ms", "latency ms, 50 % / 99 %"),
    ]
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    mine = [[one for one in samples if one.socket == socket] for samples in rounds]
    references = [next(one for one in samples if one.backend != LOOP) for samples in mine]
    for backend in dict.fromkeys(one.backend for samples in mine for one in samples):
        found = [next(one for one in samples if one.backend == backend) for samples in mine]
        ratios = [one.rate / first.rate for one, first in zip(found, references, strict=True)]
        free = [one.free_rate / first.free_rate for one, first in zip(found, references, strict=True)]
        latency = next((one.latency_ms for one in reversed(found) if one.latency_ms), None)
        row = [
            backend,
            f"{median(found, 'rate'):.1f}",
            f"**{statistics.median(ratios):.2f}** ({min(ratios):.2f}-{max(ratios):.2f})",
            f"**{statistics.median(free):.2f}** ({min(free):.2f}-{max(free):.2f})",
            *(f"{median(found, name):.2f}" for name in ("cores", "sender_cores", "others_cores", "ready_cores")),
            *(f"{median(found, name):.2f}" for name in ("cpu_ms", "transport_ms", "sender_ms")),
            f"{latency[0]:.0f} / {latency[1]:.0f}" if latency else "-",
        ]
        lines.append(f"| {' | '.join(row)} |")
    return "\n".join(lines)


def draw(rounds: Sequence[Sequence[Sample]], path: Path) -> None:
    """Frames per second and processor time of a frame, by replicas."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt
    from matplotlib import ticker

    figure, axes = plt.subplots(1, 2, figsize=(11, 4.5), layout="constrained")
    every = [one for samples in rounds for one in samples]
    for socket, line in (("rep", "-"), ("pub", ":")):
        points: dict[str, dict[int, list[Sample]]] = {}
        for one in (one for one in every if one.socket == socket):
            if one.backend == LOOP:
                continue
            spec = describe_backend(one.backend)
            points.setdefault(spec.name, {}).setdefault(spec.replicas, []).append(one)
        for name, found in points.items():
            replicas = sorted(found)
            label = f"{name}, {'requests' if socket == 'rep' else 'subscription'}"
            color = f"C{sorted(KNOWN).index(name)}"
            for axis, figure_of in zip(axes, ("rate", "cpu_ms"), strict=True):
                values = [median(found[n], figure_of) for n in replicas]
                axis.plot(replicas, values, line, color=color, marker="o", label=label)
        loops = [one for one in every if one.socket == socket and one.backend == LOOP]
        if loops:
            axes[0].axhline(median(loops, "rate"), color="grey", linestyle=line, label=f"receiving alone, {socket}")
    axes[0].set(xlabel="replicas", ylabel="frames/s", xscale="log", yscale="log")
    axes[1].set(
        xlabel="replicas",
        ylabel="processor time of a frame, ms",
        xscale="log",
        ylim=(0, 1.15 * max(one.cpu_ms for one in every)),
    )
    replicas = sorted({describe_backend(one.backend).replicas for one in every if one.backend != LOOP})
    for axis in axes:
        axis.set_xticks(replicas, [str(n) for n in replicas])
        axis.minorticks_off()
    axes[0].yaxis.set_major_locator(ticker.LogLocator(subs=(1.0, 2.0, 5.0)))
    axes[0].yaxis.set_major_formatter(ticker.ScalarFormatter())
    axes[0].legend(fontsize=8)
    figure.savefig(path, dpi=90)
