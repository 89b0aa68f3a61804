"""What merged data should be like for a run to end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Annotated

import pydantic
from pydantic import Field
from pydantic.dataclasses import dataclass as pydantic_dataclass

from stages.merging.shells import Quality, Shell
from stages.merging.tables import percent


@pydantic_dataclass(frozen=True, config=pydantic.ConfigDict(extra="forbid"))
class Until:
    """What the merged data must be like for the run to end."""

    completeness: Annotated[float | None, Field(gt=0, le=1, description="at least this part of all reflections")] = None
    cc_half: Annotated[float | None, Field(gt=0, lt=1, description="CC1/2 of at least this")] = None
    multiplicity: Annotated[float | None, Field(gt=0, description="so many measurements of a reflection")] = None
    crystals: Annotated[int | None, Field(ge=1, description="so many crystals merged")] = None
    resolution: Annotated[
        float | None, Field(gt=0, description="over all reflections to this resolution in Angstrom; else to highres")
    ] = None
    each_shell: Annotated[bool, Field(description="ask it of every shell, not only over all of them")] = False
    each_group: Annotated[bool, Field(description="ask it of each group of frames by itself, too")] = False

    def __post_init__(self) -> None:
        if (self.completeness, self.cc_half, self.multiplicity, self.crystals) == (None,) * 4:
            raise ValueError("say what there should be: completeness, cc_half, multiplicity or crystals")

    def of_one_group(self) -> Until:
        """The same, asked of one group."""
        return replace(self, each_group=False)

    def holds(self, found: Quality, in_each_group: Callable[[], bool]) -> bool:
        """Whether there is enough; `in_each_group` tells it of the groups, and is asked if that is wanted."""
        if found.num_crystals < (self.crystals or 0):
            return False
        shells = (found.overall, *(found.shells if self.each_shell else ()))
        return all(self._holds(shell) for shell in shells) and (not self.each_group or in_each_group())

    def _holds(self, shell: Shell) -> bool:
        wanted = (
            (self.completeness, shell.completeness),
            (self.cc_half, shell.cc_half),
            (self.multiplicity, shell.multiplicity),
        )
        return all(least is None or value >= least for least, value in wanted)

    def __str__(self) -> str:
        words = []
        if self.crystals is not None:
            words.append(f"{self.crystals} crystals")
        if self.completeness is not None:
            words.append(f"completeness {percent(self.completeness)}")
        if self.cc_half is not None:
            words.append(f"CC1/2 {self.cc_half:g}")
        if self.multiplicity is not None:
            words.append(f"multiplicity {self.multiplicity:g}")
        text = " and ".join(words) + (f" to {self.resolution:g} A" if self.resolution else "")
        return text + (" in each shell" if self.each_shell else "") + (" in each group" if self.each_group else "")
