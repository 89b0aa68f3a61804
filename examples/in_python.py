"""The seed's command in Python: request frames, take the listed peaks, index, write a stream; then look at the report.

python examples/in_python.py tcp://127.0.0.1:5002 Eiger.geom lysozyme.cell output.stream 100
"""

import sys

from pipeline import Graph, RunOptions, run
from stages import decode, geometry_map, index, integrate, peaks, refine, sink, source


def make_graph(address: str, geometry: str, cell: str, output: str, frames: int) -> Graph:
    return Graph.chain(
        source.ZmqReq(address=address, request="next"),
        decode.MsgpackMap(),
        geometry_map.MapPanels(geometry=geometry),
        peaks.FromMessage(),
        peaks.HitFinder(min_peaks=15),
        index.Pairs(cell=cell),
        refine.Prediction(),
        integrate.Rings(),
        sink.StreamFile(path=output),
        options=RunOptions(backend="threads:2", max_frames=frames),
    )


if __name__ == "__main__":
    address, geometry, cell, output, frames = sys.argv[1:]
    graph = make_graph(address, geometry, cell, output, int(frames))
    print(graph.to_yaml())
    report = run(graph, command_line=" ".join(sys.argv))
    print(report.text())
