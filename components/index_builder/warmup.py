"""Requests that a server replays before it answers, so that no user waits for lazy initialization.

TF Serving reads them from `assets.extra/tf_serving_warmup_requests` of a SavedModel.
"""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import tensorflow as tf

from schema import features

WARMUP_FILE = os.path.join("assets.extra", "tf_serving_warmup_requests")
# In no catalog, so that similar words are looked for.
_UNKNOWN_WORD: Final = b"zzxqy"


def write_warmup_requests(directory: str, model_name: str, examples: Sequence[bytes]) -> None:
    """Records one `Predict` request per serialized search example, one by query text, and one of each request option.

    What few requests ask for is a part of the graph of its own, which is made ready when it first runs.

    Args:
      directory: of the SavedModel.
      model_name: under which it is served.
      examples: serialized search examples.
    """
    asked = [*examples, *(option for first in examples[:1] for option in with_options(first))]
    requests = [(features.SIGNATURE_DEFAULT, {features.INPUT_EXAMPLES: [example]}) for example in asked]
    requests.append((features.SIGNATURE_QUERY_TEXT, {features.INPUT_QUERY: [b"shoes"]}))
    write_records(directory, model_name, requests)


def write_records(directory: str, model_name: str, requests: Iterable[tuple[str, Mapping[str, Any]]]) -> None:
    """Records `Predict` requests: signature, and inputs by name."""
    from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

    path = os.path.join(directory, WARMUP_FILE)
    tf.io.gfile.makedirs(os.path.dirname(path))
    with tf.io.TFRecordWriter(path) as writer:
        for signature, inputs in requests:
            request = predict_pb2.PredictRequest()
            request.model_spec.name, request.model_spec.signature_name = model_name, signature
            for name, values in inputs.items():
                request.inputs[name].CopyFrom(tf.make_tensor_proto(values))
            log = prediction_log_pb2.PredictionLog(predict_log=prediction_log_pb2.PredictLog(request=request))
            writer.write(log.SerializeToString())


def with_options(example: bytes) -> Iterator[bytes]:
    """A serialized search example with each option that a request may have, one at a time."""
    options = [
        *({features.RETRIEVAL: kind.encode()} for kind in features.Retrieval.ALL),
        {features.QUERY: _UNKNOWN_WORD},
        {features.RELEVANCE_CONTROL: b"on"},
        {features.FILTER_BRAND: _UNKNOWN_WORD},
    ]
    for option in options:
        parsed = tf.train.Example.FromString(example)
        for name, value in option.items():
            parsed.features.feature[name].bytes_list.value[:] = [value]
        yield parsed.SerializeToString()
