from .record import Fact as Fact
from .record import Report as Report
from .report import vet as vet
from .translate import Translation as Translation
from .translate import translate as translate

__all__: list[str]
