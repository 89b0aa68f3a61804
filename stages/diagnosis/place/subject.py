"""Where the detector is, from what crystals say together, and from hits that do not index."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pipeline import Context, Frame
from stages.diagnosis.finding import Finding
from stages.diagnosis.place.evidence import CrystalEvidence, evidence_of
from stages.diagnosis.place.place import LEAST_ALONG, LEAST_SHIFT_PX, LEAST_TILT_RAD, SURE, Place, find_place
from stages.diagnosis.place.words import findings_of
from stages.diagnosis.steps import Steps, at_once
from stages.diagnosis.subject import About
from stages.lattices.cell import UnitCell
from stages.prediction.panel_finder import PanelFinder
from stages.records.crystal import Crystals
from stages.records.geometry import DetGeom
from stages.records.peaklist import Hit, PeakList, is_hit

KEPT = 300
"""So many crystals are fitted together; of more, as many are drawn by lot."""
_FIRST, _EVERY = KEPT, 50
"""In each replica so many crystals have their say, and then one in so many."""
_SEED = 20

_FEW_INDEXED = 0.3
"""If a smaller part of the hits is indexed, those that are not are searched without a cell."""
_HITS_FIRST, _MOST_SEARCHED = 10, 60
"""That is known from so many hits on; and so many are searched in each replica, in all."""
_FEWEST_PEAKS = 15
"""Of hits with fewer peaks little is found without a cell."""

_FEWEST_TO_FIT = 8
_MORE, _MORE_AT_END = 2.0, 1.3
"""The fit is done anew whenever there are more crystals by this factor."""
_ASKED, _MORE_IF_RIGHT = 30, 4.0
"""Where the geometry was right so many crystals are asked whether it still is; and that again when there are more by this."""


@dataclass(frozen=True)
class PlaceSeen:
    """What a hit has to say.

    Attributes
    ----------
    crystals
        Of those that the run has found.
    searched
        Of those that a search without a cell has found in a hit that was not indexed.
    is_indexed
        Whether the run has found any.
    """

    crystals: tuple[CrystalEvidence, ...]
    searched: tuple[CrystalEvidence, ...]
    is_indexed: bool


class DetectorPlace:
    """Where the detector is: shift, distance and tilt, from crystals together, also where hits do not index."""

    name = "detector"

    def look(self, about: About) -> PlaceLook:
        """Return what takes crystals out of frames."""
        return PlaceLook(about)

    def watch(self, about: About) -> PlaceWatch:
        """Return what fits."""
        return PlaceWatch(about.target)


class PlaceLook:
    """Takes out of a frame what its crystals say, and looks for lattices where hardly a hit is indexed."""

    def __init__(self, about: About) -> None:
        self._about = about
        self._finder: PanelFinder | None = None
        self._search: Any = None
        self._num_hits = self._num_indexed = self._num_crystals = self._num_searched = 0

    def __call__(self, frame: Frame) -> PlaceSeen | None:
        """Return what this frame's crystals say; None of a frame that is no hit."""
        peaks, geom, crystals = frame.get(PeakList), frame.get(DetGeom), frame.get(Crystals)
        if not is_hit(frame) or peaks is None or geom is None or crystals is None:
            return None
        self._num_hits += 1
        self._num_indexed += bool(crystals.found)
        if crystals.found:
            return PlaceSeen(self._said_by(crystals, peaks, geom), (), is_indexed=True)
        return PlaceSeen((), self._searched(peaks, geom), is_indexed=False)

    def _said_by(self, crystals: Crystals, peaks: PeakList, geom: DetGeom) -> tuple[CrystalEvidence, ...]:
        said = []
        for crystal in crystals:
            self._num_crystals += 1
            if self._num_crystals <= _FIRST or self._num_crystals % _EVERY == 0:
                self._finder = PanelFinder.of(geom, self._finder)
                one = evidence_of(crystal, peaks, geom.of_file, geom.displacement, self._finder)
                said += [] if one is None else [one]
        return tuple(said)

    def _searched(self, peaks: PeakList, geom: DetGeom) -> tuple[CrystalEvidence, ...]:
        few = self._num_hits >= _HITS_FIRST and self._num_indexed < _FEW_INDEXED * self._num_hits
        if not few or self._num_searched >= _MOST_SEARCHED or len(peaks) < _FEWEST_PEAKS:
            return ()
        if self._search is None:
            stages = self._about.indexing.stages
            if not stages:
                return ()
            run = self._about.context
            self._search = stages[0].without_cell().open(Context(run.node, run.replica, run.tables, board=run.board))
        self._num_searched += 1
        found = self._search(Hit(True, len(peaks)), peaks, geom)
        return self._said_by(found, peaks, geom)


class PlaceWatch:
    """Keeps what crystals say, and fits the detector's place to them now and then."""

    def __init__(self, target: UnitCell | None) -> None:
        self._target = target
        self._crystals = _Lot()
        self._searched = _Lot()
        self._num_hits = self._num_indexed = 0
        self._fitted_at = 0
        self._place: Place | None = None

    def take(self, seen: PlaceSeen) -> None:
        """Keep what one hit has to say."""
        self._num_hits += 1
        self._num_indexed += seen.is_indexed
        for one in seen.crystals:
            self._crystals.add(one)
        for one in seen.searched:
            self._searched.add(one)

    def findings(self) -> Sequence[Finding]:
        """Return what is known so far; fits anew if there are many more crystals than at the last time."""
        return at_once(self.findings_in_steps())

    def findings_in_steps(self) -> Steps[Sequence[Finding]]:
        """Return the same, in the steps of the fit."""
        num = self._crystals.num + self._searched.num
        if num >= max(_FEWEST_TO_FIT, self._more(_MORE) * self._fitted_at):
            yield from self._fit()
        return self._said()

    def conclude(self) -> Sequence[Finding]:
        """Fit all once more, if there is anything new."""
        num = self._crystals.num + self._searched.num
        if num > self._more(_MORE_AT_END) * self._fitted_at:
            at_once(self._fit())
        return self._said()

    def figures(self) -> Mapping[str, Any]:
        """Return the place and its errors, or that there is none."""
        figures: dict[str, Any] = {
            "hits": self._num_hits,
            "indexed": self._num_indexed,
            "crystals": self._crystals.num,
            "found_without_cell": self._searched.num,
        }
        return figures if self._place is None else {**figures, **self._place.figures()}

    def close(self) -> None:
        """Nothing is open."""

    @property
    def place(self) -> Place | None:
        """Where the detector is, as far as it is known."""
        return self._place

    def _more(self, factor: float) -> float:
        return _MORE_IF_RIGHT if self._place is not None and _is_surely_right(self._place) else factor

    def _fit(self) -> Steps[None]:
        self._fitted_at = self._crystals.num + self._searched.num
        share = self._num_indexed / max(1, self._num_hits)
        indexed, others = list(self._crystals.kept), list(self._searched.kept)
        crystals = indexed if share >= _FEW_INDEXED else [*indexed, *others]
        last = None if self._place is None or self._place.is_of_few else self._place.correction
        if last is not None and last.is_none:
            some = crystals[:: max(1, len(crystals) // _ASKED)]
            place = yield from find_place(some, self._target)
            if len(some) == len(crystals) or (place is not None and _is_surely_right(place)):
                self._place = place
                return
        place = yield from find_place(crystals, self._target, None if last is None or last.is_none else last)
        if place is not None and place.is_along:
            fair = yield from self._fair(place, share, indexed, others)
            place = fair or replace(place, share_indexed=share)
        self._place = place

    def _fair(
        self, place: Place, share: float, indexed: Sequence[CrystalEvidence], searched: Sequence[CrystalEvidence]
    ) -> Steps[Place | None]:
        """Return the place from as many of those that index as is their share, and the others; None if that tells nothing.

        Hits that index though the distance is off have cells that make up for it in part.
        """
        if share >= _FEW_INDEXED or len(searched) < _FEWEST_TO_FIT:
            return None
        num = math.ceil(len(searched) * share / (1.0 - share))
        fair = yield from find_place([*indexed[:num], *searched], self._target, place.correction)
        return fair if fair is not None and fair.is_along else None

    def _said(self) -> Sequence[Finding]:
        if self._place is None:
            return ()
        share = self._num_indexed / max(1, self._num_hits)
        return findings_of(self._place, self._target, share if share < _FEW_INDEXED else math.nan)


def _is_surely_right(place: Place) -> bool:
    """Whether nothing is wrong, and all that matters would have been seen."""
    errors, fit = place.best.errors, place.fit
    least = (*2 * (LEAST_SHIFT_PX * fit.pixel_m,), LEAST_ALONG * fit.clen_m, *2 * (LEAST_TILT_RAD,))
    return place.correction.is_none and bool((SURE * errors <= least).all())


class _Lot:
    """At most KEPT items, each of all that came being kept with the same probability (reservoir sampling, Vitter 1985)."""

    def __init__(self) -> None:
        self._random = random.Random(_SEED)
        self.num = 0
        self.kept: list[CrystalEvidence] = []

    def add(self, item: CrystalEvidence) -> None:
        """Take one more into account."""
        self.num += 1
        if len(self.kept) < KEPT:
            self.kept.append(item)
        else:
            place = self._random.randrange(self.num)
            if place < KEPT:
                self.kept[place] = item
