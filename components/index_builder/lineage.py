"""What a servable was built of, as its own properties say.

On a cluster no node can look it up: a step knows of an earlier servable only what the ledger has of it.
"""

import copy
from typing import Final

from tfx import types
from tfx.types import artifact_utils, standard_artifacts

from schema import features
from schema.settings import InputError

TRAINED_MODEL: Final = "trained_model"
REQUESTS: Final = "requests"
CATALOGUE: Final = "catalogue"


def describe(servable: types.Artifact, model: types.Artifact, requests: types.Artifact, catalogue: str) -> None:
    """Sets the properties: the trained model, the examples of its requests, and whose catalog split is indexed."""
    servable.set_string_custom_property(TRAINED_MODEL, model.uri)
    servable.set_string_custom_property(REQUESTS, requests.uri)
    servable.set_string_custom_property(CATALOGUE, catalogue)


def trained_model(servable: types.Artifact) -> types.Artifact:
    """What the Trainer had made."""
    model = standard_artifacts.Model()
    model.set_mlmd_artifact(copy.deepcopy(servable.mlmd_artifact))
    model.uri = servable.get_string_custom_property(TRAINED_MODEL)
    return model


def requests(servable: types.Artifact) -> types.Artifact:
    """The examples that the model was trained and evaluated on.

    Raises:
      InputError: the servable does not say.
    """
    uri = servable.get_string_custom_property(REQUESTS)
    if not uri:
        raise InputError(
            f"{servable.uri} does not say on what requests its model is to be measured, as an earlier release of Souk "
            "built it; run `souk run` first"
        )
    examples = standard_artifacts.Examples()
    examples.uri = uri
    examples.split_names = artifact_utils.encode_split_names(list(features.SPLITS))
    return examples


def catalogue(servable: types.Artifact) -> str:
    """Where the examples are whose catalog split is indexed; "" where the servable does not say."""
    return str(servable.get_string_custom_property(CATALOGUE))
