"""The formats in which simulated frames are written, by their names."""

from __future__ import annotations

from stages.simulation.as_cbf import Cbf
from stages.simulation.as_hdf5 import Hdf5
from stages.simulation.as_karabo import Karabo
from stages.simulation.as_map import Om, Seed
from stages.simulation.as_npy import Npy
from stages.simulation.as_seedee import Seedee
from stages.simulation.as_series import Dectris1, Dectris2
from stages.simulation.settings import Style
from stages.simulation.wire import WireFormat

FORMATS: dict[Style, type[WireFormat]] = {
    form.style: form for form in (Seed, Om, Hdf5, Cbf, Seedee, Npy, Dectris1, Dectris2, Karabo)
}
"""Each style that there is."""
