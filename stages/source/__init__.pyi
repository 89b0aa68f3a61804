from .replay import Replay as Replay
from .simulate import Simulate as Simulate
from .zmq_pull import ZmqPull as ZmqPull
from .zmq_req import ZmqReq as ZmqReq
from .zmq_sub import ZmqSub as ZmqSub
