"""Energies, distances, shifts and pixel sizes in a wrong unit are named with the first frame; right ones are not."""

from __future__ import annotations

import re

import pytest

from pipeline import Context, Frame
from pipeline.by_type import ByType
from stages.diagnosis.subject import About
from stages.diagnosis.units import Units
from stages.files.geom.detector import Detector
from stages.live.diagnosis import Diagnosis
from stages.records.header import Header
from stages.records.told import IndexingStages
from stages.simulation.apparatus import flat_geometry

TEXT = flat_geometry(2068, 2162, 5814.0)


def findings(text, header, frames=3):
    detector = Detector.parse(text)
    about = About(detector, None, IndexingStages(), Context())
    look, watch = Units().look(about), Units().watch(about)
    for n in range(frames):
        asks = watch.take(look(Frame(n).with_values(detector.geom_for(Header(header)))))
        assert asks == (n == 0 and bool(watch.findings()))
    return watch.findings()


def instead(old, new, text=TEXT):
    assert old in text
    return text.replace(old, new)


RIGHT = {"beam_energy": 9500.0, "detector_distance": 130.0}
E_LINE, D_LINE = "photon_energy = beam_energy eV", "clen = detector_distance mm"

WRONG = {
    "keV sent, eV read": (TEXT, {"beam_energy": 9.5}, "energy_unit", "photon_energy", "beam_energy keV", "1305 A"),
    "eV sent, keV read": (
        instead(E_LINE, "photon_energy = beam_energy keV"), {}, "energy_unit", "photon_energy", "beam_energy eV", ""
    ),
    "keV written": (instead(E_LINE, "photon_energy = 9.5"), {}, "energy_unit", "photon_energy", "9.5 keV", ""),
    "metres as A": (
        instead(E_LINE, "wavelength = beam_energy A"), {"beam_energy": 1.3e-10}, "energy_unit", "wavelength",
        "beam_energy m", "",
    ),
    "kV sent, V read": (
        instead(E_LINE, "electron_voltage = beam_energy V"), {"beam_energy": 200.0}, "energy_unit", "electron_voltage",
        "beam_energy kV", "",
    ),
    "m sent, mm read": (TEXT, {"detector_distance": 0.13}, "distance_unit", "clen", "detector_distance m", "0.13 mm"),
    "mm sent, m read": (
        instead(D_LINE, "clen = detector_distance m"), {}, "distance_unit", "clen", "detector_distance mm", "130 m"
    ),
    "mm written without unit": (instead(D_LINE, "clen = 130"), {}, "distance_unit", "clen", "130 mm", "130 m"),
    "um sent": (TEXT, {"detector_distance": 130e3}, "distance_unit", None, None, "seems to be in um"),
    "cm sent": (TEXT, {"detector_distance": 13.0}, "distance_unit", None, None, "seems to be in cm"),
    "shift in mm without unit": (
        TEXT + "detector_shift_x = 0.4\n", {}, "detector_shift_x_unit", "detector_shift_x", "0.4 mm", ""
    ),
    "pixels per mm": (instead("res = 5814.0", "res = 5.814"), {}, "pixel_size", "res", "5814", ""),
    "size in um": (instead("res = 5814.0", "res = 172"), {}, "pixel_size", "res", "5813.9535", ""),
    "size in m": (instead("res = 5814.0", "res = 0.000172"), {}, "pixel_size", "res", "5813.9535", ""),
}  # fmt: skip


@pytest.mark.parametrize(("text", "header", "key", "directive", "value", "said"), WRONG.values(), ids=WRONG)
def test_a_wrong_unit_is_named_with_what_to_write(text, header, key, directive, value, said):
    (finding,) = findings(text, RIGHT | header)
    assert (finding.key, finding.is_wrong) == (key, True)
    assert said in finding.text
    assert [(edit.directive, edit.value) for edit in finding.edits] == ([(directive, value)] if directive else [])
    if directive:
        right = re.sub(rf"(?m)^{directive} = .*$", f"{directive} = {value}", text)
        assert findings(right, RIGHT | header) == []


@pytest.mark.parametrize("energy", [1800.0, 6000.0, 9500.0, 30e3, 80e3])
@pytest.mark.parametrize("distance", [40.0, 130.0, 600.0])
def test_what_beamlines_use_is_right(energy, distance):
    assert findings(TEXT, {"beam_energy": energy, "detector_distance": distance}) == []


def test_electrons_and_small_shifts_are_right():
    text = instead(E_LINE, "electron_voltage = 200 kV") + "detector_shift_x = 0.4 mm\n"
    assert findings(text, {"detector_distance": 1500.0}) == []


def test_energy_and_distance_can_both_be_wrong():
    found = findings(TEXT, {"beam_energy": 9.5, "detector_distance": 0.13})
    assert [finding.key for finding in found] == ["energy_unit", "distance_unit"]


@pytest.mark.shared_data
def test_real_geometry_files_are_right(shared_data):
    for file in sorted((shared_data / "geom").glob("*.geom")):
        detector = Detector.load(file)
        if detector.energy is None or detector.clen.key or detector.energy.key:
            continue
        assert findings(detector.text, {}) == [], file.name


def test_it_is_said_in_the_log_with_the_first_frame_and_once(caplog):
    detector = Detector.parse(TEXT)
    context = Context(upstream=ByType([detector]))
    look, writer = Diagnosis().open(context), Diagnosis().open_writer(context)
    for n in range(60):
        seen = look(Frame(n).with_values(detector.geom_for(Header(RIGHT | {"beam_energy": 9.5}))))
        assert seen is not None
        writer.write(seen)
        if n == 0:
            assert "beam_energy keV" in caplog.text
            assert "1305 A" in writer.status()
    assert caplog.text.count("beam_energy keV") == 1
    writer.close()
