"""Names of files, folders and properties of artifacts that several parts agree on, each once."""

import os
from typing import Final

# A Model artifact's SavedModel, as TFX lays it out.
SERVING_FOLDER: Final = "Format-Serving"
# What a servable says of the model and the index that it holds, from the folder of its SavedModel.
CARD_FILE: Final = os.path.join("assets.extra", "souk.json")
# What a delta index of a servable is built from beside its model, in its `servable` artifact: no server reads it.
DELTA_BASIS_FOLDER: Final = "delta_basis"
# What a delta index says of itself, from the folder of its SavedModel.
DELTA_CARD_FILE: Final = os.path.join("assets.extra", "delta.json")
# The recall gate's evaluation, in its `evaluation` artifact.
EVALUATION_FILE: Final = "evaluation.json"
# What the canary found, in its `blessing` artifact.
CANARY_FILE: Final = "canary.json"
# What ingestion counted, and the rows that it could not use, in its `examples` artifact.
INGESTION_FILE: Final = "summary.json"
DEAD_LETTERS_FOLDER: Final = "dead_letters"
# Properties of a blessing that say where the evaluation is that it rests on, and the examples that were replayed.
EVALUATION_PROPERTY: Final = "evaluation"
EXAMPLES_PROPERTY: Final = "examples"


def split_folder(split: str) -> str:
    """The folder of a split, from the root of an Examples artifact."""
    return f"Split-{split}"
