"""Whatever searches run is compiled while the run starts: a first hit that waits for the compiler holds up a beamline."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

SHOW = """
import json, sys
sys.path.insert(0, sys.argv[2])
import numpy as np
from pathlib import Path
from signatures_of_kernels import compiled_since, signatures
from pipeline.stage import Context
from stages.files.cell import cell_text
from stages.index.lattice import FreeLattice
from stages.index.pairs import Pairs
from stages.peaks.likelihood import Likelihood
from stages.peaks.peakfinder8 import Peakfinder8
from stages.records import Hit, Image
from stages.simulation.apparatus import Apparatus
from stages.simulation.settings import Settings
from stages.simulation.powder import BLANKS
from stages.simulation.spot_lists import CELLS, XRAYS, simulate

path = Path(sys.argv[1]) / "target.cell"
path.write_text(cell_text(CELLS["lysozyme"]))
made = Apparatus.make(Settings(seed=1, hits=1.0), size="512x512").simulation
frames = [made.frame(i) for i in range(3)]
searches = [Peakfinder8(threshold=5.0).open(Context()), Likelihood().open(Context())]
stages = [Pairs(cell=path).open(Context()), FreeLattice(multi=True).open(Context())]
before = signatures()
rng = np.random.default_rng(1)
lists = [simulate(CELLS["lysozyme"], rng, 40, 0.3, offset_px=off) for off in (0, 0, 0, 5, 5, 5)]
found = 0
num_peaks = [sum(len(search(Image.of(**f.arrays), f.geom)) for f in frames) for search in searches]
for q, intensity in [(s.q, s.intensity) for s in lists] + [(BLANKS["one ring"](rng, 150), np.arange(150.0))]:
    peaks, geom = XRAYS.peaks_of(q, intensity)
    found += sum(len(stage(Hit(True, len(peaks)), peaks, geom, None)) for stage in stages)
print(json.dumps({"late": compiled_since(before), "found": found, "peaks": num_peaks}))
"""


def test_peaks_are_searched_and_hits_are_indexed_without_a_word_from_the_compiler(tmp_path):
    words = [str(tmp_path), str(Path(__file__).parent.parent)]
    shown = subprocess.run([sys.executable, "-c", SHOW, *words], capture_output=True, text=True, check=True)
    said = json.loads(shown.stdout)
    assert said["found"] >= 10
    assert min(said["peaks"]) >= 30
    assert said["late"] == []
