"""What a servable was built of, as its own properties say.

On a cluster no node can look it up: a step knows of an earlier servable only what the ledger has of it.
"""

import copy
import json
from typing import Any, Final, TypeVar

from schema import features
from schema.settings import InputError

TRAINED_MODEL: Final = "trained_model"
REQUESTS: Final = "requests"
CATALOG: Final = "catalog"


# A TFX artifact; what only names them must not import TFX.
Artifact = TypeVar("Artifact", bound=Any)


def describe(servable: Artifact, model: Artifact, requests: Artifact, catalog: str) -> None:
    """Sets the properties: the trained model, the examples of its requests, and whose catalog split is indexed."""
    servable.set_string_custom_property(TRAINED_MODEL, model.uri)
    servable.set_string_custom_property(REQUESTS, requests.uri)
    servable.set_string_custom_property(CATALOG, catalog)


def trained_model(servable: Artifact) -> Artifact:
    """What the Trainer had made, as an artifact of the servable's type."""
    model = copy.deepcopy(servable)
    model.uri = servable.get_string_custom_property(TRAINED_MODEL)
    return model


def requests(servable: Any, artifact_type: type[Artifact]) -> Artifact:
    """The examples that the model was trained and evaluated on, as an artifact of `artifact_type`.

    Raises:
      InputError: the servable does not say.
    """
    uri = servable.get_string_custom_property(REQUESTS)
    if not uri:
        raise InputError(
            f"{servable.uri} does not say on what requests its model is to be measured, as an earlier release of Souk "
            "built it; run `souk run` first"
        )
    examples = artifact_type()
    examples.uri = uri
    examples.split_names = json.dumps(list(features.SPLITS))
    return examples


def catalog(servable: Any) -> str:
    """Where the examples are whose catalog split is indexed; "" where the servable does not say."""
    return str(servable.get_string_custom_property(CATALOG))
