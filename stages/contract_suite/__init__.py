"""What every stage promises, tried on simulated frames: ``streamajig check-stage`` prints it, and tests ask for it.

>>> from stages.contract_suite import examine
"""

from stages.contract_suite.examination import Examination, Finding, examine

__all__ = ["Examination", "Finding", "examine"]
