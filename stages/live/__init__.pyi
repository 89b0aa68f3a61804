from .cells import Cells as Cells
from .detector_shift import DetectorShift as DetectorShift
from .diagnosis import Diagnosis as Diagnosis
from .groups import Groups as Groups
from .int_diag import IntDiag as IntDiag
from .merge import Merge as Merge
from .monitor import Monitor as Monitor
from .verdict import Verdict as Verdict
