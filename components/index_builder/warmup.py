"""Requests that a server replays before it answers, so that no user waits for lazy initialization.

TF Serving reads them from `assets.extra/tf_serving_warmup_requests` of a SavedModel.
"""

import os
from collections.abc import Sequence

import tensorflow as tf

from schema import features

WARMUP_FILE = os.path.join("assets.extra", "tf_serving_warmup_requests")


def write_warmup_requests(directory: str, model_name: str, examples: Sequence[bytes]) -> None:
    """Records one `Predict` request per serialized search example, and one by query text.

    Args:
      directory: of the SavedModel.
      model_name: under which it is served.
      examples: serialized search examples.
    """
    from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

    def record(signature: str, name: str, values: Sequence[bytes]) -> bytes:
        request = predict_pb2.PredictRequest()
        request.model_spec.name = model_name
        request.model_spec.signature_name = signature
        request.inputs[name].CopyFrom(tf.make_tensor_proto(list(values), tf.string))
        log = prediction_log_pb2.PredictionLog(predict_log=prediction_log_pb2.PredictLog(request=request))
        return log.SerializeToString()

    path = os.path.join(directory, WARMUP_FILE)
    tf.io.gfile.makedirs(os.path.dirname(path))
    with tf.io.TFRecordWriter(path) as writer:
        for example in examples:
            writer.write(record(features.SIGNATURE_DEFAULT, features.INPUT_EXAMPLES, [example]))
        writer.write(record(features.SIGNATURE_QUERY_TEXT, features.INPUT_QUERY, [b"shoes"]))
