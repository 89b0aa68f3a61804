"""A peak search of one's own against a built-in one: which indexes more of the same frames?"""

import numpy as np

from pipeline import Graph, run, stage
from stages import decode, geometry_map, index, peaks, sink, source
from stages.records import DetGeom, Image, PeakList


@stage("peaks/summits")
def summits(image: Image, geom: DetGeom, *, height: float = 30.0) -> PeakList:
    """Take each pixel as a peak that is high, and higher than those beside it in its row."""
    (view,) = geom.views(image)
    ss, fs = np.nonzero((view[:, 1:-1] >= height) & (view[:, 1:-1] > view[:, :-2]) & (view[:, 1:-1] > view[:, 2:]))
    return PeakList.make(np.zeros(len(ss)), fs + 1.5, ss + 0.5, view[ss, fs + 1])


frames = source.Simulate(frames=30, seed=4, size="512x512", distance_mm=45)
graph = Graph.chain(
    frames,
    decode.MsgpackMap(),
    geometry_map.MapPanels(geometry="Eiger.geom"),
    peaks.Peakfinder8(threshold=10),
    peaks.HitFinder(min_peaks=15),
    index.Pairs(cell="lysozyme.cell"),
    sink.HeadersOnly(path="found.stream"),
)
report = run(graph.vary("peaks", [peaks.Peakfinder8(threshold=10), summits(height=20), summits(height=40)]))
print(report.findings["verdict"].text)
