from .record import Fact as Fact
from .record import Report as Report
from .report import vet as vet

__all__: list[str]
