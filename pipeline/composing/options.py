"""How a graph is run: what is true of the run and not of any one stage."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import pydantic
from pydantic import ByteSize, Field
from pydantic.dataclasses import dataclass

from pipeline.parameters import in_sentences

WORKER_TIMEOUT_S = 30.0
"""Where a process can be ended, a stage that takes longer hangs, unless the run says otherwise."""


@in_sentences
@dataclass(frozen=True, config=pydantic.ConfigDict(extra="forbid"))
class RunOptions:
    """Options of a run; they stand under ``run:`` in the YAML."""

    backend: Annotated[
        str,
        Field(
            description="where replicas of the graph run: serial, threads:N, processes:N, dask:N or dask:tcp://scheduler:8786",
            pattern=r"^[a-z]+(:[A-Za-z0-9_.:/-]+)?$",
        ),
    ] = "threads:1"
    max_frames: Annotated[int | None, Field(ge=1, description="end after this many frames")] = None
    no_data_timeout_s: Annotated[
        float | None, Field(gt=0, description="end when nothing has arrived for this many seconds")
    ] = None
    serial_offset: Annotated[int, Field(description="serial number of the first frame")] = 1
    in_flight: Annotated[
        int | None,
        Field(ge=1, description="frames received and not yet finished, at most; by default 4 and 4 for each replica"),
    ] = None
    in_flight_bytes: Annotated[
        ByteSize | None,
        Field(
            gt=0,
            description="bytes of messages received and not yet finished, and of chunks that wait for their turn, at most "
            "(4GB, say); one frame is always taken. By default a quarter of the memory",
        ),
    ] = None
    drain_s: Annotated[
        float, Field(ge=0, description="when stopping, wait this long for answers to requests already sent")
    ] = 1.0
    stage_timeout_s: Annotated[
        float | None,
        Field(
            gt=0,
            description="reject a frame in which one stage takes longer than this; by default never in threads, and after 30 s "
            "where a replica has a process of its own",
        ),
    ] = None
    max_worker_memory: Annotated[
        ByteSize | None,
        Field(
            gt=0,
            description="replace a worker process that has more private memory than this (2GB, say), and reject its frame",
        ),
    ] = None
    listen: Annotated[
        str | None,
        Field(
            description="with dask: the address, or address:port, of this machine to which Dask workers connect; by default "
            "that on the way to the scheduler, and any port"
        ),
    ] = None
    dead_letters: Annotated[Path | None, Field(description="folder for the reasons of rejected frames")] = None
    max_dead_letters: Annotated[int, Field(ge=1, description="rejected frames beyond are counted and not kept")] = (
        100_000
    )
    dead_letter_bytes: Annotated[
        int,
        Field(
            ge=1,
            description="bytes that dead letters may have, messages included; those beyond are counted and not kept",
        ),
    ] = 10_000_000_000
    keep_messages: Annotated[bool, Field(description="keep the raw message of each rejected frame there too")] = False

    @property
    def worker_timeout_s(self) -> float:
        """How long a stage may take where a replica has a process of its own."""
        return WORKER_TIMEOUT_S if self.stage_timeout_s is None else self.stage_timeout_s
