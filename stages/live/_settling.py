"""Crystals that may be in several settings, put into one of them as they come."""

from __future__ import annotations

from typing import Any

import numpy as np

from stages.merging.ambiguity import Reference, Settings, resolve
from stages.merging.crystals import Observed

_WAIT_AT_MOST = 16
"""Until there are so many times the first crystals their settings are looked for; then they stay as they are indexed."""

InEach = tuple[Observed, ...]
"""A crystal in each of the settings that it may be in."""


class Settling:
    """Finds the settings of the first crystals among each other, and of each later one beside them.

    Parameters
    ----------
    settings
        In which ways crystals may be indexed.
    first
        So many wait until they are compared; twice as many, and so on, while these do not tell.
    """

    def __init__(self, settings: Settings, first: int) -> None:
        self._settings = settings
        self._first = self._resolve_at = first
        self._waiting: list[InEach] = []
        self._reference: Reference | None = None
        self._given_up = False
        self._num_chosen = np.zeros(len(settings), np.int64)
        self._resolved = ""

    def add(self, crystal: InEach) -> list[Observed]:
        """Take one more; return those whose settings are known now."""
        if len(crystal) == 1:
            return [crystal[0]]
        if self._reference is not None or self._given_up:
            chosen = 0 if self._reference is None else self._reference.choose(crystal)[0]
            self._num_chosen[chosen] += 1
            return [crystal[chosen]]
        self._waiting.append(crystal)
        if len(self._waiting) < self._resolve_at:
            return []
        return self._resolve(give_up=len(self._waiting) >= _WAIT_AT_MOST * self._first)

    def rest(self) -> list[Observed]:
        """Return those that still wait, in the settings that can be told, or as they are indexed."""
        return self._resolve(give_up=True) if self._waiting else []

    def _resolve(self, *, give_up: bool) -> list[Observed]:
        """Find the settings of those that wait; or wait for as many more."""
        resolution = resolve(self._waiting)
        self._resolved = resolution.in_words(self._settings)
        if not (resolution.is_clear or give_up):
            self._resolve_at *= 2
            return []
        chosen = [in_each[s] for in_each, s in zip(self._waiting, resolution.chosen.tolist(), strict=True)]
        self._num_chosen += np.bincount(resolution.chosen, minlength=len(self._settings))
        self._given_up, self._waiting = not resolution.is_clear, []
        self._reference = Reference(chosen) if resolution.is_clear else None
        return chosen

    def lines(self) -> list[str]:
        """Say what was found; nothing where nothing was looked for."""
        if not self._resolved:
            return []
        turned = self._num_chosen[1:].sum()
        return [f"the first crystals: {self._resolved}", f"in all {turned} of {self._num_chosen.sum()} crystals turned"]

    def figures(self) -> dict[str, Any]:
        """Return the number of crystals in each setting; null where nothing was looked for."""
        return {"crystals_in_setting": self._num_chosen.tolist() if self._resolved else None}
