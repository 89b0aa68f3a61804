"""Real geometry files, and a real stream whose printed resolutions the geometry must reproduce."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline import Context
from stages.files.geom.detector import Detector
from stages.geometry_map.map_panels import MapPanels
from stages.records import Header

PANELS = {
    "EuXFEL-FXE__LPD-1M__2a685e6d.geom": 256,
    "EuXFEL-SPB__AGIPD-1M__cca6e0c8.geom": 128,
    "EuXFEL__AGIPD-1M-2D__4e38cd8a.geom": 128,
    "EuXFEL__Jungfrau-4M-64asic__ea92c221.geom": 64,
    "LCLS-AMO__pnCCD__81e8f296.geom": 2,
    "LCLS-CXI__Jungfrau4M-cxilz0720__53e7b95b.geom": 64,
    "LCLS__CSPAD-140k-2x2__2c22d776.geom": 4,
    "LCLS__CSPAD-coffset__6521cf2f.geom": 64,
    "LCLS__CSPAD__9779e410.geom": 64,
    "LCLS__Jungfrau1M-10bad__152aa7aa.geom": 16,
    "LCLS__Rayonix-peak_list__f2f04143.geom": 1,
    "PAL-XFEL__RayonixMX225HS-stream-embedded.geom": 1,
}
WITHOUT_ENERGY = "LCLS__CSPAD-140k-2x2__2c22d776.geom"


@pytest.mark.shared_data
@pytest.mark.parametrize("name", PANELS)
def test_a_facilitys_file_is_read_without_an_unknown_directive(shared_data: Path, name: str) -> None:
    detector = Detector.load(shared_data / "geom" / name)
    assert len(detector.panels) == PANELS[name]
    assert not [note for note in detector.warnings if "unknown" in note.text]
    if name == WITHOUT_ENERGY:
        assert detector.energy is None
        return
    running = MapPanels(geometry=shared_data / "geom" / name).open(Context())
    geom = running(Header(dict.fromkeys(detector.header_keys, 500.0)), None)
    assert geom.origin_m.shape == (PANELS[name], 3)
    # pixels are square to 2 % on every real detector, and point away from the sample
    lengths = np.linalg.norm(np.stack([geom.fs_m, geom.ss_m]), axis=2) * [p.res_per_m for p in detector.panels]
    np.testing.assert_allclose(lengths, 1, atol=0.02)
    assert (geom.origin_m[:, 2] > 0).all()


@pytest.mark.shared_data
def test_panels_of_real_detectors_do_not_overlap_more_than_a_little(shared_data: Path) -> None:
    """Most pixel centres are found again on their own panel: vectors, corners and inverse agree."""
    rng = np.random.default_rng(1)
    for name in PANELS:
        detector = Detector.load(shared_data / "geom" / name)
        if name == WITHOUT_ENERGY:
            continue
        geom = detector.geom_for(Header(dict.fromkeys(detector.header_keys, 500.0)))
        which = rng.integers(0, len(geom.panels), 2000)
        fs = rng.uniform(0, [geom.panels[i].width for i in which])
        ss = rng.uniform(0, [geom.panels[i].height for i in which])
        found, fs_found, ss_found = geom.locate(geom.q_per_angstrom(which, fs, ss))
        same = found == which
        assert same.mean() > 0.97, name
        assert (found >= 0).all()
        np.testing.assert_allclose(fs_found[same], fs[same], atol=1e-6)
        np.testing.assert_allclose(ss_found[same], ss[same], atol=1e-6)


@pytest.mark.shared_data
def test_a_streams_geometry_reproduces_the_printed_resolution_of_every_peak(shared_data: Path) -> None:
    """Peaks are printed after the chunk's detector shift has been applied.

    With ``--multi``, CrystFEL 0.9 left the shifts of discarded attempts in the geometry too; so a chunk that was tried
    several times is reproduced by one shift of the whole detector that lies near the printed one, but is not it.
    """
    stream = (shared_data / "streams" / "crystfel.stream").read_text()
    text = stream.split("----- Begin geometry file -----\n")[1].split("----- End geometry file -----")[0]
    geom = Detector.parse(text, "crystfel.stream").geom_for(Header({}))
    tried = []
    for chunk in stream.split("----- Begin chunk -----\n")[1:]:
        (listed,) = re.findall(r"Peaks from peak search\n.*\n((?:.*\n)*?)End of peak list", chunk)
        table = np.array([[float(word) for word in line.split()[:3]] for line in listed.splitlines()])

        def error(shift_m: np.ndarray, table: np.ndarray = table) -> float:
            moved = replace(geom, origin_m=geom.origin_m + np.append(shift_m, 0.0))
            q = moved.q_per_angstrom(np.zeros(len(table), int), table[:, 0], table[:, 1])
            return float(np.abs(10 * np.linalg.norm(q, axis=1) - table[:, 2]).max())

        def told(pattern: str, chunk: str = chunk) -> np.ndarray:
            return np.array([float(word) for word in re.search(pattern, chunk).groups()])

        shift_m = 1e-3 * told(r"det_shift x = (\S+) y = (\S+) mm")
        (tries,) = told(r"n_indexing_tries = (\d+)")
        around = (
            [shift_m + 1e-5 * np.array([x, y]) for x in range(-10, 11) for y in range(-10, 11)]
            if tries > 1
            else [shift_m]
        )
        assert min(error(shift) for shift in around) < 0.00505  # two decimals are printed
        assert error(shift_m) < 0.008
        assert told(r"photon_energy_eV = (\S+)") == pytest.approx(geom.photon_energy_ev)
        assert told(r"average_camera_length = (\S+) m") == pytest.approx(geom.mean_clen_m)
        tried.append((len(table), tries))
    assert tried == [(25, 1), (29, 1), (53, 6)]


def test_the_example_geometry_is_the_seeds_and_reads_without_a_warning(project: Path) -> None:
    detector = Detector.load(project / "examples" / "Eiger.geom")
    assert detector.warnings == ()
    assert detector.header_keys == ("beam_energy", "detector_distance")
    assert detector.data_keys == ("detector_data",)
    assert detector.peak_list == "peak_list"
    geom = detector.geom_for(Header({"beam_energy": 12000, "detector_distance": 150}))
    assert (geom.panels[0].width, geom.panels[0].height) == (2068, 2162)
    assert geom.clen_m[0] == pytest.approx(0.15)
    assert geom.fs_m[0] == pytest.approx([1 / 5814, 0, 0])
