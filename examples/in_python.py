"""The seed's command in Python: request frames, take the listed peaks, index, write a stream; then look at the report.

python examples/in_python.py tcp://127.0.0.1:5002 Eiger.geom lysozyme.cell output.stream 100
"""

import sys
from pathlib import Path

from pipeline.graph import Graph
from pipeline.job import run
from pipeline.options import RunOptions
from stages.decode.msgpack_map import MsgpackMap
from stages.geometry_map.map_panels import MapPanels
from stages.index.pairs import Pairs
from stages.integrate.rings import Rings
from stages.peaks.from_message import FromMessage
from stages.peaks.hit import HitFinder
from stages.refine.prediction import Prediction
from stages.sink.stream_file import StreamFile
from stages.source.zmq_req import ZmqReq


def make_graph(address: str, geometry: Path, cell: Path, output: Path, frames: int) -> Graph:
    return Graph.chain(
        ZmqReq(address=address, request="next"),
        MsgpackMap(),
        MapPanels(geometry=geometry),
        FromMessage(),
        HitFinder(min_peaks=15),
        Pairs(cell=cell),
        Prediction(),
        Rings(),
        StreamFile(path=output),
        options=RunOptions(backend="threads:2", max_frames=frames),
    )


if __name__ == "__main__":
    address, geometry, cell, output, frames = sys.argv[1:]
    graph = make_graph(address, Path(geometry), Path(cell), Path(output), int(frames))
    print(graph.to_yaml())
    report = run(graph, command_line=" ".join(sys.argv))
    print(report.text())
