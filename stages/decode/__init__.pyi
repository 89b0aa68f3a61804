from .cbf import Cbf as Cbf
from .headers_only import HeadersOnly as HeadersOnly
from .karabo import Karabo as Karabo
from .msgpack_map import MsgpackMap as MsgpackMap
from .npy import Npy as Npy
