"""The process that receives, when more comes at once than there is room for (one message with several maps)."""

from __future__ import annotations

import os
from typing import Any

from toy_stages import Decode, Keep, Numbers

from pipeline.composing.graph import Graph
from pipeline.running.backends.processes.ingest_process import Host
from pipeline.running.backends.processes.page import Page, make_pages
from pipeline.running.backends.processes.slots import make_memory
from pipeline.running.wiring import Setup


class Supervisor:
    """The other end of the link: says what it is given, one after the other, and remembers."""

    def __init__(self, says: list[Any]) -> None:
        self.says = says
        self.heard: list[Any] = []

    def poll(self, timeout_s: float) -> bool:
        if self.says:
            return True
        assert timeout_s == 0.0 or not self.is_owed, "it waits, and keeps what it could hand out"
        return False

    @property
    def is_owed(self) -> bool:
        return self.granted > sum(len(written) for what, *rest in self.heard if what == "messages" for written in rest)

    granted = 0

    def receive(self) -> Any:
        said = self.says.pop(0)
        if said[0] == "grant":
            self.granted += len(said[1])
        return said

    def send(self, *what: Any) -> None:
        self.heard.append(what)


def test_what_has_no_room_yet_is_handed_out_as_soon_as_there_is_some() -> None:
    messages, pages = make_memory(4), make_pages(1)
    graph = Graph.chain(Numbers(tuple(range(20, 29)), batch=6), Decode(), Keep())
    supervisor = Supervisor([("grant", [0], [])])
    host = Host(Setup(graph), supervisor, Page(pages, 0, ["source", "source, close"]), messages)  # type: ignore[arg-type]
    host.open()
    handed_out = []
    for slot in (1, 2, 3, 0, 1, 2, 3, 0, 1):
        host.step()
        handed_out.append(sum(len(rest[0]) for what, *rest in supervisor.heard if what == "messages"))
        supervisor.says.append(("grant", [slot], []))
    assert handed_out == list(range(1, 10))
    for fd in (messages, pages):
        os.close(fd)
