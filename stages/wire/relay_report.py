"""What a relay has counted, while it goes on and when it ends."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pipeline.amounts import size
from pipeline.metrics import Durations

LEFT_OVER = "waited when the relay ended"
ABANDONED = "abandoned"
"""Why messages that still wait at the end are dropped."""


@dataclass(frozen=True)
class RelayReport:
    """The counts of a relay.

    Attributes
    ----------
    received, sent, waiting
        Messages that came; that were handed to somebody who had asked and was connected; that wait to be asked for.
    sent_bytes, waiting_bytes
        What these have.
    drop_reasons
        How many messages were dropped, by the reason.
    waited
        How long the messages that were sent have waited here.
    askers
        Programs that are connected to ask.
    requests, unknown_requests, unanswered
        Requests for a message; requests with another word, answered ``What?``; requests that wait for a message.
    left, unconfirmed
        Programs that have asked and are gone; messages sent to them after which they have not asked again, at most. What a
        program has not read when it goes is gone with it.
    sender
        How it is with the sender now.
    losses
        When the sender was lost, "" if it never was.
    why_ended
        "" as long as it goes on.
    """

    received: int
    sent: int
    sent_bytes: int
    waiting: int
    waiting_bytes: int
    drop_reasons: Mapping[str, int]
    waited: Durations
    askers: int
    requests: int
    unknown_requests: int
    unanswered: int
    left: int
    unconfirmed: int
    elapsed_s: float
    sender: str
    losses: str
    why_ended: str

    @property
    def dropped(self) -> int:
        """Messages that were dropped, for whatever reason."""
        return sum(self.drop_reasons.values())

    @property
    def passed_on(self) -> int:
        """Messages that were sent."""
        return self.sent

    @property
    def took(self) -> Durations:
        """How long that took."""
        return self.waited

    @property
    def is_abandoned(self) -> bool:
        """Whether messages waited when it was ended by force."""
        return ABANDONED in self.drop_reasons

    @property
    def has_failed(self) -> bool:
        """No: whatever ends a relay is wanted."""
        return False

    @property
    def is_conserved(self) -> bool:
        """Whether received = sent + dropped, and what waits."""
        return self.received == self.sent + self.dropped + self.waiting

    def law(self) -> str:
        """The conservation law."""
        waiting = f" + waiting {self.waiting}" if self.waiting else ""
        return f"received {self.received} = sent {self.sent} + dropped {self.dropped}{waiting}"

    def text(self) -> str:
        """The report for people; the law is its last line."""
        per_s = 1 / self.elapsed_s if self.elapsed_s > 0 else 0.0
        median, most = (f"{self.waited.quantile_ns(share) / 1e6:.1f} ms" for share in (0.5, 0.99))
        waited = f"; they waited {median} (median), {most} (99 of 100)" if self.sent else ""
        lines = [
            f"{self.elapsed_s:.1f} s, {self.sent * per_s:.1f} frames/s, {size(self.sent_bytes * per_s)}/s{waited}; "
            f"ended: {self.why_ended}",
            f"requests {self.requests}, of which {self.unanswered} were not answered",
        ]
        if self.unknown_requests:
            lines.append(f"requests with another word, answered 'What?': {self.unknown_requests}")
        if self.unconfirmed:
            lines.append(
                f"of those sent up to {self.unconfirmed} may not have been read: programs that have gone ({self.left}) did not "
                "ask again after them"
            )
        lines += [f"dropped: {count} x {reason}" for reason, count in self.drop_reasons.items()]
        lines += [f"sender: {self.losses}"] if self.losses else []
        return "\n".join([*lines, self.law()])
