"""One file per model.

docs/architecture.md says how to add one.
"""

from trainer.models.dpsr import Dpsr
from trainer.models.input_sizes import InputSizes
from trainer.models.mgdspr import Mgdspr
from trainer.models.mmse import Mmse
from trainer.models.towers import Towers
from trainer.models.two_tower import TwoTower

REGISTRY: dict[str, type[Towers]] = {"two_tower": TwoTower, "dpsr": Dpsr, "mgdspr": Mgdspr, "mmse": Mmse}

__all__ = ["REGISTRY", "Dpsr", "InputSizes", "Mgdspr", "Mmse", "Towers", "TwoTower"]
