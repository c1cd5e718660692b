"""What runs, in which order, and where."""

from typing import Final

# The name to install Souk by, with pip for example.
DISTRIBUTION: Final = "souk-retrieval"
