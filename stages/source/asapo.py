"""Take messages from ASAP::O, DESY's data bus."""

from __future__ import annotations

import json
import logging
import time
from collections import deque
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from pipeline import Context, Delivery, EndOfStream, Findings, Message, UserError, stage
from pipeline.amounts import several
from stages.wire.framing import Framed
from stages.wire.message import stand_in, too_large

log = logging.getLogger("streamajig.source")

RESEND_AFTER_MS = 60_000
RESEND_ATTEMPTS = 3
"""With acknowledgements: after how long, and how often, a message that nobody acknowledges is sent again; as indexamajig."""

PAUSE_S = 1.0
"""After a call that failed, until the next."""


@stage("source/asapo")
class Asapo(Framed):
    """Take the messages of an ASAP::O stream (``--asapo-endpoint``), as a consumer of a group that shares them.

    Each message goes to one consumer of the group: any number of these may run at once. They come in the order in which they
    are available. The run ends when the stream is finished; while it is not, it waits for more (``--no-data-timeout``). A
    broker that cannot be reached when the run begins is an error; one that is lost later is asked again, and each time is
    counted. With `acks` a message is acknowledged when nothing of the run holds it any more (with processes: when it has been
    handed to one), and the broker sends those that never were to the group again.

    Needs ``pip install 'streamajig[asapo]'``. ASAP::O: https://asapo.pages.desy.de/asapo/
    """

    delivery: ClassVar[Delivery] = Delivery.SHARED

    endpoint: str = Field(min_length=1, description="Where the broker's discovery service listens, host:port.")
    beamtime: str = Field(min_length=1, description="The beamtime to which the data belong.")
    data_source: str = Field(min_length=1, description="What sends the data, such as eiger.")
    stream: str = Field(min_length=1, description="The stream, a name for each run as a rule.")
    group: str = Field(min_length=1, description="Name of the consumers that share the messages.")
    token: str = Field(default="", description="What allows to read the data.")
    consumer_timeout_ms: int = Field(default=500, ge=1, description="How long one request to the broker may take.")
    wait_for_stream: bool = Field(default=False, description="Wait for a stream that has no messages yet.")
    acks: bool = Field(
        default=False, description="Acknowledge each message, so that the broker sends again what was lost."
    )

    def open(self, context: Context) -> RunningAsapo:
        """Connect; UserError without the client, or if there is no broker."""
        try:
            import asapo_consumer
        except ImportError as error:
            raise UserError(
                f"source/asapo needs ASAP::O's client, which cannot be imported ({error}); pip install 'streamajig[asapo]'"
            ) from None
        return RunningAsapo(self, asapo_consumer)


class _UntilForgotten:
    """Says that a message is to be acknowledged, when nobody holds it any more."""

    def __init__(self, number: int, forgotten: deque[int]) -> None:
        self._number, self._forgotten = number, forgotten

    def __del__(self) -> None:
        self._forgotten.append(self._number)


class RunningAsapo:
    """`Asapo` at work.

    Parameters
    ----------
    client
        The module asapo_consumer, or what has its functions and exceptions.
    """

    def __init__(self, parameters: Asapo, client: Any) -> None:
        self._parameters, self._client = parameters, client
        self._framing = parameters.framing()
        self._forgotten: deque[int] = deque()
        self._num_messages = self._num_interrupted = 0
        self._trouble = ""
        self._paused_until = 0.0
        self._is_over = False
        try:
            self._consumer = client.create_consumer(
                parameters.endpoint,
                "auto",
                False,
                parameters.beamtime,
                parameters.data_source,
                parameters.token,
                parameters.consumer_timeout_ms,
            )
            if parameters.acks:
                self._consumer.set_resend_nacs(True, RESEND_AFTER_MS, RESEND_ATTEMPTS)
            self._num_there = int(self._consumer.get_current_size(stream=parameters.stream))
        except client.AsapoConsumerError as error:
            raise UserError(f"ASAP::O at {parameters.endpoint} (--asapo-endpoint): {_in_short(error)}") from None

    def receive(self, timeout_s: float, credit: int) -> list[Message]:
        """Ask for the next messages, until there is none; raises EndOfStream when the stream is finished."""
        self._acknowledge()
        if self._is_over:
            raise EndOfStream
        end = time.monotonic() + timeout_s
        found: list[Message] = []
        taken = 0
        while taken < credit and time.monotonic() >= self._paused_until:
            data, meta = self._next()
            if meta is None:
                break
            taken += 1
            found += self._messages(data, meta)
            if time.monotonic() >= end:
                break
        if not found:
            time.sleep(min(max(0.0, end - time.monotonic()), 0.005 if credit <= 0 else PAUSE_S))
        return found

    def stop_asking(self) -> int:
        """Ask for nothing more."""
        self._is_over = True
        return 0

    def status(self) -> str:
        """Say whether the broker is there."""
        return self._trouble or f"connected to ASAP::O at {self._parameters.endpoint}, stream {self._parameters.stream}"

    def findings(self) -> Findings:
        """Say how often the broker did not answer."""
        text = f"ASAP::O did not answer {several(self._num_interrupted, 'time')}" if self._num_interrupted else ""
        return Findings(text, {"messages": self._num_messages, "interrupted": self._num_interrupted})

    def close(self) -> None:
        """Acknowledge what is done; the others are sent to the group again."""
        self._is_over = True
        self._acknowledge()

    def _next(self) -> tuple[Any, Mapping[str, Any] | None]:
        """The next message and what is known of it; None if there is none now."""
        parameters, client = self._parameters, self._client
        try:
            data, meta = self._consumer.get_next(
                parameters.group, meta_only=False, stream=parameters.stream, ordered=False
            )
        except client.AsapoStreamFinishedError:
            self._is_over = True
        except client.AsapoEndOfStreamError:
            self._trouble = ""
            self._end_if_nothing_is_there()
        except client.AsapoNoDataError:  # one that was skipped; the next call goes on behind it
            self._interrupted("a message was not available")
        except client.AsapoWrongInputError as error:
            if not parameters.wait_for_stream:
                raise UserError(f"ASAP::O at {parameters.endpoint}: {_in_short(error)}") from None
            self._interrupted(_in_short(error))
        except client.AsapoConsumerError as error:
            self._interrupted(_in_short(error))
        else:
            self._trouble = ""
            self._num_messages += 1
            return data, meta
        return None, None

    def _end_if_nothing_is_there(self) -> None:
        """A stream that nobody writes to ends the run, unless it is to be waited for, as in indexamajig."""
        if self._num_messages or self._num_there or self._parameters.wait_for_stream:
            return
        log.warning(
            "ASAP::O has no stream %r with messages (--asapo-wait-for-stream waits for it)", self._parameters.stream
        )
        self._is_over = True

    def _interrupted(self, why: str) -> None:
        if why != self._trouble:
            log.warning("ASAP::O at %s: %s; asking again", self._parameters.endpoint, why)
        self._num_interrupted += 1
        self._trouble = why
        self._paused_until = time.monotonic() + PAUSE_S

    def _messages(self, data: Any, meta: Mapping[str, Any]) -> list[Message]:
        received_ns = time.time_ns()
        body = np.ascontiguousarray(data, np.uint8).data.toreadonly().cast("B")
        done = _UntilForgotten(int(meta["_id"]), self._forgotten) if self._parameters.acks else None
        if len(body) > self._parameters.max_message_bytes:
            trouble = too_large(len(body), self._parameters.max_message_bytes)
            return [Message(b"", received_ns, (stand_in(trouble.reason, trouble.detail),), done)]
        parts = [body]
        if str(self._parameters.data_format) == "seedee":  # which says in the metadata what the data are
            parts.insert(0, memoryview(json.dumps(meta.get("meta")).encode()))
        return self._framing.frames_of(parts, received_ns, done)

    def _acknowledge(self) -> None:
        while self._forgotten:
            number = self._forgotten.popleft()
            try:
                self._consumer.acknowledge(self._parameters.group, number, stream=self._parameters.stream)
            except self._client.AsapoConsumerError as error:
                log.warning("ASAP::O: message %d is not acknowledged: %s", number, _in_short(error))


def _in_short(error: Exception) -> str:
    """What the client says, without naming each place through which it went."""
    said = str(error).split(", caused by:")
    first, last = said[0].removeprefix("error: "), said[-1].strip().removeprefix("error: ")
    return first if len(said) == 1 else f"{first.split(', details')[0]} ({last})"
