from .follow_detector import FollowDetector as FollowDetector
from .limit_resolution import LimitResolution as LimitResolution
from .map_panels import MapPanels as MapPanels
