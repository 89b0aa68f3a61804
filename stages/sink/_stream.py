"""What all sinks that write CrystFEL streams have in common."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from pipeline import Context
from pipeline.paths import Named, keep_apart
from stages.files.cell import TargetCell
from stages.files.geom.detector import Detector
from stages.records.crystal import Crystals
from stages.records.geometry import DetGeom
from stages.records.header import Header
from stages.records.peaklist import Hit, PeakList
from stages.records.told import IndexingMethods
from stages.sink._chunk import ChunkEncoder, ChunkOptions
from stages.sink._output import AppendedFile, head


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class StreamSink:
    """Parameters of a sink that writes a stream; a subclass says whether there are pixels."""

    path: Annotated[Path, Field(description="The stream to write (-o); a file that exists is overwritten.")]
    no_non_hits: Annotated[
        bool, Field(description="Write no chunks for frames that are no hits (--no-non-hits-in-stream).")
    ] = False
    no_peaks: Annotated[bool, Field(description="Write no peak lists (--no-peaks-in-stream).")] = False
    no_reflections: Annotated[bool, Field(description="Write no reflection lists (--no-refls-in-stream).")] = False
    copy_headers: Annotated[
        tuple[str, ...], Field(description="Keys of the message whose values stand in every chunk (--copy-header).")
    ] = ()
    filename: Annotated[
        str,
        Field(
            description="Image filename of all chunks; empty: the file in event ids like 'file // 12', else ZMQdata."
        ),
    ] = ""
    divergence_rad: Annotated[float, Field(ge=0.0, description="Beam divergence to write down, in radians.")] = 0.0
    in_order: Annotated[bool, Field(description="Write chunks in the order of their serials.")] = False

    has_pixels: ClassVar[bool] = True
    may_read: ClassVar[tuple[type, ...]] = (Hit, Header, DetGeom, PeakList, Crystals)

    NEEDS: ClassVar[tuple[type, ...]] = (Detector,)
    USES: ClassVar[tuple[type, ...]] = (TargetCell, IndexingMethods)

    def open(self, context: Context) -> ChunkEncoder:
        """Return what turns frames into chunks."""
        options = ChunkOptions(
            filename=self.filename,
            no_non_hits=self.no_non_hits,
            no_peaks=self.no_peaks,
            no_reflections=self.no_reflections,
            copy_headers=self.copy_headers,
            divergence_rad=self.divergence_rad,
            has_pixels=self.has_pixels,
        )
        return ChunkEncoder(options, context)

    def open_writer(self, context: Context) -> AppendedFile:
        """Make the file, with its head; UserError if it would take the place of a mask that the geometry file names."""
        beginning = head(context)
        masks = [Named(Path(name), "the geometry file") for name in context.upstream[Detector].mask_files]
        keep_apart(masks, [Named(self.path, context.node or "the stream")])
        return AppendedFile(self.path, beginning)
