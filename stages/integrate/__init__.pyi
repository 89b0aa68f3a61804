from .none import NoIntegration as NoIntegration
from .predict_only import PredictOnly as PredictOnly
from .prof2d import Prof2d as Prof2d
from .rings import Rings as Rings
