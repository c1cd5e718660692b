"""Settings of the schema gate and of the statistics it reads."""

from pathlib import Path
from typing import Final, Literal

from pydantic import Field

from schema.settings import Settings

DEFAULT_SCHEMA: Final = str(Path(__file__).resolve().parents[2] / "schema" / "souk.pbtxt")


class SchemaGateConfig(Settings):
    """What data may enter the pipeline.

    Attributes:
      schema_path: the TFDV schema, a text protocol buffer; `souk schema` infers a first draft. The
        default is Souk's own, for the profile columns `gender`, `age_group`, `purchasing_power`, `region`.
      drift: what a feature that drifted from the last good run's data is: an "error" that stops the
        run, a "warning", or "off".
      new_features: what a feature that the schema does not know is: an "error" or a "warning".
      sample_rate: share of the examples that the statistics are computed on, in (0, 1].
    """

    schema_path: str = DEFAULT_SCHEMA
    drift: Literal["error", "warning", "off"] = "warning"
    new_features: Literal["error", "warning"] = "error"
    sample_rate: float = Field(1.0, gt=0.0, le=1.0)
