from .headers_only import HeadersOnly as HeadersOnly
from .msgpack_map import MsgpackMap as MsgpackMap
