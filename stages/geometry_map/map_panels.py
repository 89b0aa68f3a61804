"""geometry_map/map_panels: from the geometry file and a frame's header to where its pixels are."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from pipeline import Context, RejectFrame, UserError, stage
from stages.files.geom import parser
from stages.files.geom.detector import Detector
from stages.files.geom.file_text import read_text
from stages.records.geometry import DetGeom, warm_up
from stages.records.header import Header
from stages.records.image import Image
from stages.records.told import PixelsDecoded, SeriesKeys

_HIGHEST = 1 << 64
"""No pixel is as high."""


class RunningMapPanels:
    """The geometry at work in one replica."""

    def __init__(self, detector: Detector, saturation_key: str = "") -> None:
        self.detector = detector
        self._saturation_key = saturation_key
        self._with_limit: tuple[float, Detector] = (0.0, detector)
        self._fitting: set[tuple[tuple[int, ...], ...]] = set()

    def __call__(self, header: Header, image: Image | None) -> DetGeom:
        """Return this frame's geometry; rejects a frame whose header or arrays do not have what the file asks for."""
        if image is not None:
            self._check_shapes(image)
        return self._detector_for(header).geom_for(header, image)

    def _detector_for(self, header: Header) -> Detector:
        """The detector with the series' saturation, where the file and the series have it so; made once for a series."""
        limit = header.get(self._saturation_key) if self._saturation_key else None
        if isinstance(limit, bool) or not isinstance(limit, int | float) or not 0 < limit < _HIGHEST:
            return self.detector
        if limit != self._with_limit[0]:
            self._with_limit = float(limit), self.detector.with_saturation(float(limit))
        return self._with_limit[1]

    def _check_shapes(self, image: Image) -> None:
        try:
            shapes = tuple(image.shape(key) for key in self.detector.data_keys)
        except RejectFrame as rejection:
            if image.arrays or image.broken:
                raise
            hint = "; if the sender sends no pixels, use --no-image-data (decode/headers_only)"
            raise RejectFrame(rejection.reason, rejection.detail + hint) from None
        if shapes not in self._fitting:
            for panel in self.detector.static_panels:
                panel.check_shape(image.shape(panel.data))
            if len(self._fitting) < 64:
                self._fitting.add(shapes)


@stage("geometry_map/map_panels", publishes=(Detector,), uses=(PixelsDecoded, SeriesKeys))
class MapPanels:
    """Work out where every panel stands in the laboratory, for each frame, from a CrystFEL geometry file.

    The point (fs, ss) of a panel lies at ``corner + fs * fs_vector + ss * ss_vector`` (all divided by ``res``), at
    ``clen + coffset`` along the beam, moved by ``detector_shift``. ``photon_energy`` (or ``wavelength``, ``electron_voltage``),
    ``clen`` and ``detector_shift_x/y`` may be the names of header keys, matched exactly, with a unit; they are read from every
    frame. Vectors and masks are worked out once for each camera length and shift.

    Where the file has no photon energy or no ``clen``, and the frames' format says both for a series of frames (dectris1,
    dectris2), they are read from there; the geometry file in the stream says so. So is the saturation, for panels without
    ``max_adu``. A series' pixel mask is added to the file's.

    The stage reads mask files when it opens, checks that each frame's arrays are large enough for the panels, and marks
    pixels that ``flag_lessthan``, ``flag_morethan``, ``flag_equal``, or the format in which they came, call bad. What is
    understood of the language stands in ``docs/reference-geometry.md``, the format itself in crystfel_geometry(5); White et
    al., J. Appl. Cryst. 45 (2012) 335, doi:10.1107/S0021889812002312.

    Publishes the parsed file, which keeps its verbatim text, as ``Detector``.
    """

    geometry: Path = Field(description="CrystFEL geometry file (*.geom)")

    @staticmethod
    def warm_up() -> None:
        """Compile what a geometry file with flags needs; opening the stage does so where it has some."""
        Detector.warm_up_flags()

    def open(self, context: Context) -> RunningMapPanels:
        """Read the geometry file and its masks; raises UserError naming file, line and directive."""

        warm_up()
        said = context.upstream.get(SeriesKeys)

        def load() -> Detector:
            if said is None:
                detector = Detector.load(self.geometry)
            else:
                text = parser.completed(read_text(self.geometry), said.energy_ev, said.distance_m)
                detector = Detector.parse(text, str(self.geometry))
            for note in detector.warnings:
                context.log.warning("%s", note)
            detector.prepare()
            return detector

        detector = context.tables.get(("geometry_map/map_panels", str(self.geometry), said), load)
        lacking = [panel.name for panel in detector.static_panels if not panel.data]
        decoded = context.upstream.get(PixelsDecoded)
        if lacking and decoded is not None and decoded.wanted and decoded.named:
            raise UserError(
                f"{detector.filename}: panel {lacking[0]!r} has no directive 'data', which says under which key of the "
                f"message its pixels come; expected 'data = detector_data' before the panels, or '{lacking[0]}/data = ...'. "
                "For frames without pixels use --no-image-data (decode/headers_only)"
            )
        if decoded is not None and decoded.has_sentinels:
            detector.warm_up_flags()
        context.publish(detector)
        return RunningMapPanels(detector, said.saturation if said is not None and detector.has_no_saturation else "")
