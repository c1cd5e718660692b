"""A serving program that loads nothing: it starts like the real one and tells over gRPC the state that it is given.

It is called with the path of the ready file and the state, and may be given a port; what else it is given is ignored.
"""

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc

from souk_client.protos import model_service_pb2


def main(ready: Path, state: str, port: str = "0", *ignored: str) -> None:
    """Serves until it is stopped."""
    response = model_service_pb2.GetModelStatusResponse()
    response.model_version_status.add(version=1, state=model_service_pb2.ModelVersionStatus.State.Value(state))
    handler = grpc.unary_unary_rpc_method_handler(lambda *_: response.SerializeToString())
    server = grpc.server(ThreadPoolExecutor())
    server.add_generic_rpc_handlers(
        [grpc.method_handlers_generic_handler("tensorflow.serving.ModelService", {"GetModelStatus": handler})]
    )
    address = f"127.0.0.1:{server.add_insecure_port(f'127.0.0.1:{port}')}"
    server.start()
    unfinished = ready.with_suffix(".tmp")
    unfinished.write_text(json.dumps({"address": address, "processor_seconds": time.process_time()}))
    unfinished.replace(ready)
    server.wait_for_termination()


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
