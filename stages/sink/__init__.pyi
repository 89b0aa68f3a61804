from .headers_only import HeadersOnly as HeadersOnly
from .memory import Memory as Memory
from .stream_file import StreamFile as StreamFile
