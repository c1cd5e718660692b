"""What a refused request is told, by gRPC and by REST alike."""

import grpc
import tensorflow as tf

_CODES = {code.value[0]: code for code in grpc.StatusCode}


class RequestError(Exception):
    """A request is refused, with the status and the wording of TensorFlow Serving."""

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def invalid(message: str) -> RequestError:
    """The refusal of a request that is wrong in itself."""
    return RequestError(grpc.StatusCode.INVALID_ARGUMENT, message)


def of_model(error: tf.errors.OpError) -> RequestError:
    """The refusal of a request that the model itself failed on."""
    return RequestError(_CODES.get(error.error_code, grpc.StatusCode.UNKNOWN), error.message)
