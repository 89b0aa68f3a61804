"""How frames are moved where others process them: what the thread that receives does, for every backend but the serial one."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from pipeline.faults import is_users_interrupt

if TYPE_CHECKING:
    from pipeline.running.job import Job


class Crew(Protocol):
    """Those who process frames: threads, or what stands for processes and machines."""

    def look_after(self) -> None:
        """Replace whoever has died or hangs; called after each look at the source."""
        ...

    def finish(self, meanwhile: Callable[[], None] = ...) -> None:
        """Wait until all that was received is finished, or the run is abandoned; `meanwhile` is called now and then."""
        ...


def move_frames(job: Job, crew: Crew) -> bool:
    """Receive until no more will come, and have all of it finished; a fault of ours ends the run in good order.

    Returns whether all was finished; if not, the run was abandoned, or all of the crew have died.
    """
    try:
        while job.feed():
            crew.look_after()
        job.inbox.close()
        crew.finish(job.show_progress)
    except BaseException as error:
        if is_users_interrupt(error):
            raise
        job.fail_by_fault("the run broke off", error)
    finally:
        job.inbox.close()
    crew.finish()
    if job.abandon.is_set() or len(job.inbox):
        job.give_up()
        return False
    return True
