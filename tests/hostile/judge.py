"""Takes a message through decode, geometry and peaks, and holds what they accept against what `slow_reader` reads."""

from __future__ import annotations

import math
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import slow_reader as slow
from mutators import HEIGHT, WIDTH

from pipeline import Context, Message, RejectFrame
from pipeline.by_type import ByType
from stages.decode.headers_only import HeadersOnly
from stages.decode.msgpack_map import MsgpackMap
from stages.files.geom.detector import Detector
from stages.geometry_map.map_panels import MapPanels
from stages.peaks.from_message import FromMessage
from stages.peaks.zaef import Zaef
from stages.records import DetGeom, Header, Image, PeakList
from stages.records.image import as_message_buffer
from stages.wire.message import split_maps

HALF = WIDTH // 2
"""Two panels lie side by side."""

PANEL = (
    "{name}/min_fs = {first}\n{name}/max_fs = {last}\n{name}/min_ss = 0\n{name}/max_ss = {bottom}\n"
    "{name}/corner_x = {corner}\n{name}/corner_y = -10\n{name}/fs = x\n{name}/ss = y\n"
)
GEOMETRY = (
    "photon_energy = beam_energy eV\nadu_per_photon = 1\nclen = detector_distance mm\nres = 10000\n"
    "peak_list = peak_list\ndata = detector_data\n"
    + PANEL.format(name="left", first=0, last=HALF - 1, bottom=HEIGHT - 1, corner=-HALF)
    + PANEL.format(name="right", first=HALF, last=WIDTH - 1, bottom=HEIGHT - 1, corner=1)
)
DEEP = 32
"""What is nested deeper is refused (max_nesting)."""


SEARCH: dict[str, Any] = {"threshold": 25, "min_sq_gradient": 400, "min_snr": 4, "peak_radius": (2, 3, 4)}
AGAIN = 4
"""Of so many searches one is made once more, in the pixels that the slow reader has read."""


class Wrong(AssertionError):
    """Something was accepted that is no such frame, or a good frame was refused, or something else than that was raised."""


def attempt(ask: Callable[..., Any], *arguments: Any) -> tuple[Any, str]:
    """What comes of it, and the reason of the rejection if that comes of it; whatever else is raised is wrong."""
    try:
        return ask(*arguments), ""
    except RejectFrame as rejected:
        if not (rejected.reason and 5 < len(rejected.detail) < 1200):
            raise Wrong(f"a rejection that says nothing: {rejected!r}") from rejected
        return None, rejected.reason
    except Exception as error:
        raise Wrong(f"{type(error).__name__}: {error}") from error


def check(holds: bool, what: str, *details: object) -> None:
    if not holds:
        raise Wrong(f"{what}: {details!r}"[:600])


class Judge:
    """The stages, opened once, as in a replica; counts what came of the messages."""

    def __init__(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "two.geom")
            path.write_text(GEOMETRY)
            detector = Detector.load(path)
            self._map = MapPanels(geometry=path).open(Context())
        context = Context(upstream=ByType([detector]))
        self._decode = MsgpackMap().open(Context())
        self._headers = HeadersOnly().open(Context())
        self._from_message = FromMessage().open(context)
        self._search = Zaef(**SEARCH).open(context)
        self._again = Zaef(**SEARCH).open(context)
        self.counts: Counter[str] = Counter()

    def __call__(self, body: bytes) -> None:
        """Take one message the whole way; raises Wrong."""
        parts = [bytes(part) for part in split_maps(memoryview(body))]
        frames = slow.frames_of(body)
        if parts != [part for part, _ in frames]:
            check(parts == [body] and is_deep(body), "another split into frames", len(parts), len(frames))
            frames = [(body, frames[0][1] if len(frames) == 1 else slow.Malformed("too deep"))]
        for part, says in frames:
            self.counts["frames"] += 1
            self._frame(part, says)

    def _frame(self, body: bytes, pairs: Any) -> None:
        message = Message(b"", 0, (memoryview(body),))
        decoded, why = attempt(self._decode, message)
        bare, why_bare = attempt(self._headers, message)
        check(why == why_bare, "the two decoders do not agree", why, why_bare)
        if not isinstance(pairs, slow.Pairs):
            check(decoded is None, "what is no map was accepted", str(pairs))
            self.counts[f"rejected: {why}"] += 1
            return
        if decoded is None:
            strange = any(isinstance(key, (slow.Extension, list)) for key, _ in pairs)
            check(is_deep(body) if why == "too_deep" else strange, "a good map was refused", why)
            self.counts[f"rejected: {why}"] += 1
            return
        self.counts["decoded"] += 1
        event, header, image = decoded
        named = slow.named(pairs)
        check_event(event, named)
        check((bare[0], set(bare[1])) == (event, set(header)), "the two decoders read other headers")
        check_keys(header, image, pairs, named)
        for key in image.arrays.keys() & named.keys():
            check_array(image.arrays[key], slow.array_of(named.get(key)), key)
        for key in header:
            if key in named:
                check_header_value(header, key, named[key])
        self._geometry(header, image, named)

    def _geometry(self, header: Header, image: Image, named: dict[str, Any]) -> None:
        geom, why = attempt(self._map, header, image)
        energy, distance = (slow.number_of(named.get(key)) for key in ("beam_energy", "detector_distance"))
        array = slow.array_of(named.get("detector_data"))
        fits = array is not None and array.ndim == 2 and array.shape[0] >= HEIGHT and array.shape[1] >= WIDTH
        is_good = fits and "detector_data" in image.arrays and all(n is not None and n > 0 for n in (energy, distance))
        check((geom is not None) == is_good, "geometry", why, energy, distance, None if array is None else array.shape)
        if geom is None:
            self.counts["geometry refused"] += 1
            return
        self.counts["with geometry"] += 1
        check(geom.photon_energy_ev == energy, "another energy", geom.photon_energy_ev, energy)
        depths = geom.origin_m[:, 2].tolist()
        check(all(math.isclose(z, distance * 1e-3) for z in depths), "another distance", depths, distance)
        self._listed(header, geom, named)
        self._searched(image, geom, array)

    def _listed(self, header: Header, geom: DetGeom, named: dict[str, Any]) -> None:
        peaks, why = attempt(self._from_message, header, geom)
        value = named.get("peak_list")
        found = slow.named(value) if isinstance(value, slow.Pairs) else {}
        if is_like_array(value) or (why and may_be_refused(value)):
            return
        wanted = [
            "fs",
            "ss",
            "intensity",
            *(n for n in ("snr", "max_pixel_intensity", "num_pixels") if found.get(n) is not None),
        ]
        columns = [slow.column_of(found, name) for name in wanted]
        is_good = all(column is not None and len(column) == len(columns[0] or ()) for column in columns)
        check((peaks is not None) == is_good, "peak list", why, found)
        if peaks is None:
            self.counts["peak list refused"] += 1
            return
        self.counts["with a peak list"] += 1
        kept = [
            (int(fs + 0.5 >= HALF), fs + 0.5 - (HALF if fs + 0.5 >= HALF else 0), ss + 0.5, intensity)
            for fs, ss, intensity in zip(*columns[:3], strict=True)  # type: ignore[arg-type]
            if 0 <= fs + 0.5 < WIDTH and 0 <= ss + 0.5 < HEIGHT and math.isfinite(intensity)
        ]
        given = list(zip(*(a.tolist() for a in (peaks.panel, peaks.fs, peaks.ss, peaks.intensity)), strict=True))
        check(given == kept, "other peaks", given, kept)
        check(peaks.num_dropped == len(columns[0]) - len(kept), "another number of peaks dropped")  # type: ignore[arg-type]

    def _searched(self, image: Image, geom: DetGeom, array: np.ndarray) -> None:
        peaks, why = attempt(self._search, image, geom)
        check(peaks is not None, "the search refused a good image", why)
        self.counts["searched"] += 1
        self.counts["peaks"] += len(peaks)
        if self.counts["searched"] % AGAIN:
            return
        dtype = image.arrays["detector_data"].dtype
        again = Image.of(detector_data=as_message_buffer(np.array(array.tolist(), dtype)))
        expected: PeakList = self._again(again, geom)
        for name in ("panel", "fs", "ss", "intensity", "snr"):
            same = np.array_equal(getattr(peaks, name), getattr(expected, name), equal_nan=True)
            check(same, "other peaks than in the same pixels", name)
        on_panel = (peaks.fs >= 0) & (peaks.fs <= HALF) & (peaks.ss >= 0) & (peaks.ss <= HEIGHT)
        check(bool(on_panel.all()), "a peak beyond its panel", peaks.fs, peaks.ss)


def is_deep(body: bytes) -> bool:
    """Whether the message is nested so deeply that it is refused as it is."""
    try:
        return slow.depth_of(slow.read(body)) > DEEP
    except slow.Malformed:
        return True


def is_like_array(value: Any) -> bool:
    """Whether a map has what an encoded array has, broken or not."""
    if not isinstance(value, slow.Pairs):
        return False
    named = slow.named(value)
    return "data" in named and ("type" in named or "shape" in named)


def check_event(event: str, named: dict[str, Any]) -> None:
    for key in ("event_id", "event"):
        value = named.get(key)
        if is_like_array(value):
            return
        if isinstance(value, (slow.Raw, slow.Binary)):
            try:
                value = bytes(value).decode()
            except UnicodeDecodeError:
                continue
        elif isinstance(value, bool) or not isinstance(value, (int, float)):
            continue
        plain = "".join(c if c.isprintable() else " " for c in str(value)).strip()
        check(event == plain, "another event", event, plain)
        return
    check(event == "", "an event that nobody gave", event)


def check_keys(header: Header, image: Image, pairs: slow.Pairs, named: dict[str, Any]) -> None:
    keys = {*header, *image.arrays, *image.broken}
    if all(slow.name_of(key) is not None for key, _ in pairs):
        check(keys == named.keys(), "other keys", sorted(keys ^ named.keys()))
    for key, value in named.items():
        array = slow.array_of(value)
        if array is not None and array.ndim >= 2 and len(value) <= 16:
            check(key in image.arrays, "a good image was refused", key, image.broken.get(key))


def check_array(found: Any, wanted: np.ndarray | None, key: str) -> None:
    check(wanted is not None, "what is no array was accepted as one", key)
    assert wanted is not None
    check(np.shape(found) == wanted.shape, "another shape", key, np.shape(found), wanted.shape)
    one, other = np.asarray(found).reshape(-1).tolist(), wanted.reshape(-1).tolist()
    if one != other:
        check(all(map(is_same_number, one, other)), "other pixels", key)


def is_same_number(one: Any, other: Any) -> bool:
    """Whether they are equal, or both are no number."""
    return one == other or (type(one) is type(other) is float and math.isnan(one) and math.isnan(other))


def check_header_value(header: Header, key: str, value: Any) -> None:
    found, why = attempt(header.required, key)
    if why:
        check(may_be_refused(value), "a good header value was refused", key, why, value)
    else:
        check(is_same(found, value), "another header value", key, found, value)
    number, _ = attempt(lambda: header.number(key, positive=False))
    if not (is_like_array(value) and len(value) > 16):
        check(number == slow.number_of(value), "another number", key, number, value)


def may_be_refused(value: Any) -> bool:
    """Whether there is anything in a value that nobody has to take: a broken array, an extension, a key that is a list."""
    if isinstance(value, slow.Extension):
        return True
    if type(value) is list:
        return any(map(may_be_refused, value))
    if not isinstance(value, slow.Pairs):
        return False
    if is_like_array(value) and slow.array_of(value) is None:
        return True
    return any(isinstance(key, list) or may_be_refused(key) or may_be_refused(each) for key, each in value)


def is_same(found: Any, value: Any) -> bool:
    """Whether a header value is what was sent."""
    if isinstance(value, slow.Extension):
        return True
    if isinstance(value, (slow.Raw, slow.Binary)):
        return bytes(value) == (found.encode() if isinstance(found, str) else found)
    if isinstance(value, slow.Pairs):
        if isinstance(found, (np.ndarray, np.generic)):
            check_array(found, slow.array_of(value), "in a header")
            return True
        names = [slow.name_of(key) for key, _ in value]
        if (
            not all(isinstance(key, (slow.Raw, slow.Binary)) for key, _ in value)
            or None in names
            or len(set(names)) < len(names)
        ):
            return isinstance(found, dict)
        return (
            isinstance(found, dict)
            and found.keys() == set(names)
            and all(is_same(found[slow.name_of(k)], v) for k, v in value)
        )
    if isinstance(value, list):
        return isinstance(found, list) and len(found) == len(value) and all(map(is_same, found, value))
    return type(found) is type(value) and is_same_number(found, value)
