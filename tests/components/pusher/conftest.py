import pytest
from tfx.proto import pusher_pb2
from tfx.types import standard_artifacts
from tfx.utils import proto_utils

from components.pusher import component


@pytest.fixture
def push(tmp_path):
    model = standard_artifacts.Model()
    model.uri = str(tmp_path / "model")
    files = {"saved_model.pb": "graph", "variables/data": "weights", "assets.extra/souk.json": "{}"}
    for name, content in files.items():
        path = tmp_path / "model" / "Format-Serving" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)

    def run(blessed=True, destination=None, custom_config="null", executor=component.Executor):
        blessing = standard_artifacts.ModelBlessing()
        blessing.uri = str(tmp_path / "blessing")
        blessing.set_int_custom_property("blessed", int(blessed))
        pushed = standard_artifacts.PushedModel()
        pushed.uri = str(tmp_path / "pushed")
        as_proto = pusher_pb2.PushDestination()
        as_proto.filesystem.base_directory = str(tmp_path / "serving")
        executor().Do(
            {"model": [model], "model_blessing": [blessing]},
            {"pushed_model": [pushed]},
            {"push_destination": destination or proto_utils.proto_to_json(as_proto), "custom_config": custom_config},
        )
        return pushed

    return run
