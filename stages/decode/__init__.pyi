from .cbf import Cbf as Cbf
from .dectris1 import Dectris1 as Dectris1
from .dectris2 import Dectris2 as Dectris2
from .hdf5 import Hdf5 as Hdf5
from .headers_only import HeadersOnly as HeadersOnly
from .msgpack_map import MsgpackMap as MsgpackMap
from .npy import Npy as Npy
from .seedee import Seedee as Seedee
