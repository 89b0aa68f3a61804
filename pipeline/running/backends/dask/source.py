"""The sources of all outposts as one, which the supervisor's ingest takes for the graph's source.

Credit that ingest gives is handed on to the outposts, to that first which has least to do; what they report as received comes
back as messages whose pixels are elsewhere. So serials, limits, the end of the stream and the conservation law are those of any
run.
"""

from __future__ import annotations

import re
import threading
import time
from collections import Counter, deque
from collections.abc import Iterable, Sequence

from pipeline.frame import Message
from pipeline.protocols import EndOfStream, Findings
from pipeline.running.backends.dask import spoken
from pipeline.running.backends.dask.link import Link, stand_in, summed

_MOST_LINES = 20
"""Findings of so many lines are shown; a cluster of a hundred workers may have a line each."""


class Sources:
    """A running source (:class:`pipeline.protocols.RunningSource`) made of those of the outposts."""

    def __init__(self) -> None:
        self._links: list[Link] = []
        self._received: deque[Message] = deque()
        self._changed = threading.Condition()
        self._is_asking = True
        self._unanswered = 0
        self._lost_workers = 0
        self._findings: list[Findings] = []

    # what links tell --------------------------------------------------------------------------------------------------

    def add(self, link: Link) -> None:
        """An outpost is open and may be asked; any thread."""
        with self._changed:
            self._links.append(link)
            self._changed.notify_all()

    def announce(self, link: Link, messages: Iterable[tuple[int, int]]) -> None:
        """An outpost has received messages; any thread."""
        with self._changed:
            for number, received_ns in messages:
                self._received.append(stand_in(link, number, received_ns))
                link.announced += 1
            self._changed.notify_all()

    def remove(self, link: Link) -> None:
        """An outpost has ended; what it had asked for and has not reported nobody will report."""
        with self._changed:
            if link not in self._links:
                return
            self._links.remove(link)
            if link.goodbye is None:
                self._unanswered += link.outstanding if link.pending is None else link.pending
                self._lost_workers += 1
            else:
                self._findings.append(link.findings())
            self._changed.notify_all()

    def look_again(self) -> None:
        """Something has changed with an outpost."""
        with self._changed:
            self._changed.notify_all()

    def note(self, line: str) -> None:
        """Something that findings are to say; any thread."""
        with self._changed:
            self._findings.append(Findings(line))

    # what ingest asks -------------------------------------------------------------------------------------------------

    def receive(self, timeout_s: float, credit: int) -> Sequence[Message]:
        """Hand on credit, and wait for what outposts report."""
        deadline = time.monotonic() + timeout_s
        with self._changed:
            while True:
                if self._is_asking:
                    self._hand_on(credit - len(self._received))
                if self._received:
                    taken = list(self._received)
                    self._received.clear()
                    return taken
                if self._is_all_over():
                    raise EndOfStream
                left = deadline - time.monotonic()
                if left <= 0:
                    return []
                self._changed.wait(left)

    def stop_asking(self) -> int:
        """Let the outposts ask for nothing more; return how many messages may still come."""
        with self._changed:
            if self._is_asking:
                self._is_asking = False
                for link in self._links:
                    link.send(spoken.StopAsking())
            return len(self._received) + sum(_may_still_come(link) for link in self._links)

    def status(self) -> str:
        """What the outposts' sources say, those that say the same together."""
        with self._changed:
            said = Counter(link.status for link in self._links if link.status)
            count = len(self._links)
        if not count:
            return "no Dask worker has a replica"
        if len(said) == 1:
            return f"{count} Dask worker{'s' if count > 1 else ''}, {next(iter(said))}"
        return "; ".join([f"{count} Dask workers", *(f"{n}: {text}" for text, n in said.most_common())])

    def lost_since(self) -> float | None:
        """Since when an outpost misses a sender."""
        with self._changed:
            return min((link.lost_since for link in self._links if link.lost_since is not None), default=None)

    def close(self) -> None:
        """The outposts close their sources themselves."""

    def findings(self) -> Findings:
        """What the outposts' sources have found out, and which requests were out where one was lost."""
        with self._changed:
            found = [*self._findings, *(link.findings() for link in self._links)]
        counted = together(line for each in found for line in each.text.splitlines() if line)
        if len(counted) > _MOST_LINES:
            counted[_MOST_LINES:] = [f"and {len(counted) - _MOST_LINES} lines more"]
        if self._lost_workers:
            workers = f"{self._lost_workers} Dask worker{'s' if self._lost_workers > 1 else ''}"
            counted.append(
                f"at most {self._unanswered} requests were out when {workers} were lost: the sender may have counted as many "
                "frames as sent"
            )
        figures = summed([each.figures for each in found])
        figures["lost_workers"], figures["lost_requests"] = self._lost_workers, self._unanswered
        return Findings("\n".join(counted), figures)

    # the rest ---------------------------------------------------------------------------------------------------------

    def _hand_on(self, credit: int) -> None:
        """Let the outposts ask for more, as long as all together may then receive no more than `credit`."""
        links = [link for link in self._links if not link.is_over]
        free = credit - sum(link.outstanding for link in links)
        if free <= 0 or not links or all(link.outstanding > credit / len(links) / 2 for link in links):
            return  # a few at a time cost little more than one
        load = {link: (link.outstanding + len(link.unfinished)) / link.replicas for link in links}
        more: Counter[Link] = Counter()
        for _ in range(free):
            link = min(links, key=load.__getitem__)
            more[link] += 1
            load[link] += 1 / link.replicas
        for link, n in more.items():
            # a message of several maps brings more than was asked for, which is not taken off what comes
            link.granted = max(link.granted, link.announced) + n
            link.send(spoken.Credit(link.granted))

    def _is_all_over(self) -> bool:
        if not self._is_asking:
            return not any(_may_still_come(link) for link in self._links)
        return bool(self._links) and all(link.is_over for link in self._links)


def together(lines: Iterable[str]) -> list[str]:
    """Say once what several say; numbers with which lines begin are added up.

    >>> together(["7 requests asked again", "lost at noon", "2 requests asked again", "lost at noon"])
    ['9 requests asked again (on 2 Dask workers)', 'lost at noon (on 2 Dask workers)']
    """
    sums: Counter[str] = Counter()
    said: Counter[str] = Counter()
    for line in lines:
        number, rest = re.fullmatch(r"(\d*)(.*)", line).groups()  # type: ignore[union-attr]  # it always fits
        sums[rest] += int(number or 0)
        said[rest] += 1
    return [
        f"{sums[rest] or ''}{rest}" + (f" (on {times} Dask workers)" if times > 1 else "")
        for rest, times in said.items()
    ]


def _may_still_come(link: Link) -> int:
    """How many messages an outpost may still receive once it asks for no more."""
    if link.is_over or link.is_lost:
        return 0
    # until it has said so, nobody knows what has come to it unasked
    return max(1, link.outstanding) if link.pending is None else link.pending
