from .cbf import Cbf as Cbf
from .hdf5_file import Hdf5File as Hdf5File
from .hdf5_file_headers import Hdf5FileHeaders as Hdf5FileHeaders
from .headers_only import HeadersOnly as HeadersOnly
from .msgpack_map import MsgpackMap as MsgpackMap
from .npy import Npy as Npy
