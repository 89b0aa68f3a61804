from .prediction import Prediction as Prediction
