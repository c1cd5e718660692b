"""What runs, in which order, and where."""

from typing import Final

from pipeline import deferred_imports

# The name to install Souk by, with pip for example.
DISTRIBUTION: Final = "souk-retrieval"

# Before any module of this package imports TFX.
deferred_imports.install()
