"""The requests of a load: serialized once, before the clock runs."""

from collections.abc import Sequence

from schema.settings import InputError
from serving.load.config import LoadConfig
from souk_client import wire
from souk_client.examples import search_example
from souk_client.protos import prediction_service_pb2


def examples_of(queries: Sequence[str]) -> list[bytes]:
    """A serialized search tf.Example of each text.

    Raises:
      InputError: if a text is empty.
    """
    return [search_example(query) for query in queries]


def predict_requests(values: Sequence[bytes], config: LoadConfig) -> list[bytes]:
    """A serialized PredictRequest of one row for each value: a serialized tf.Example, or a text for `query_text`.

    Raises:
      InputError: if there is no value.
    """
    if not values:
        raise InputError("There is no query to send. Give at least one.")
    requests = []
    for value in values:
        spec = prediction_service_pb2.ModelSpec(name=config.model_name, signature_name=config.signature)
        if config.version is not None:
            spec.version.value = config.version
        request = prediction_service_pb2.PredictRequest(model_spec=spec, output_filter=config.outputs)
        request.inputs[config.input_name].CopyFrom(wire.string_tensor([value]))
        requests.append(request.SerializeToString())
    return requests
