import re

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format
from tensorflow_serving.apis import model_management_pb2
from tensorflow_serving.config import model_server_config_pb2

from serving.server import batching, model_config, versions
from tests.serving.deployment.files import CONFIGS, ROOT, SERVING

MODEL_FILES = sorted(CONFIGS.glob("models*.config"))
SETS_BATCH_SIZES = re.compile(r"allowed_batch_sizes\s*:\s*\[?\s*\d")


def monitoring_config() -> type:
    """TensorFlow Serving's MonitoringConfig, which tensorflow-serving-api leaves out (monitoring_config.proto)."""
    field = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(
        name="monitoring_config.proto", package="tensorflow.serving", syntax="proto3"
    )
    prometheus = file.message_type.add(name="PrometheusConfig")
    prometheus.field.add(name="enable", number=1, type=field.TYPE_BOOL, label=field.LABEL_OPTIONAL)
    prometheus.field.add(name="path", number=2, type=field.TYPE_STRING, label=field.LABEL_OPTIONAL)
    monitoring = file.message_type.add(name="MonitoringConfig")
    monitoring.field.add(
        name="prometheus_config",
        number=1,
        type=field.TYPE_MESSAGE,
        label=field.LABEL_OPTIONAL,
        type_name=".tensorflow.serving.PrometheusConfig",
    )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("tensorflow.serving.MonitoringConfig"))


@pytest.mark.parametrize("path", MODEL_FILES, ids=lambda path: path.name)
def test_tensorflow_serving_reads_the_models(path):
    config = text_format.Parse(path.read_text(), model_server_config_pb2.ModelServerConfig())
    (model,) = config.model_config_list.config
    assert (model.name, model.base_path, model.model_platform) == ("souk", "/models/souk", "tensorflow")
    # What the file says goes into a reload as it is.
    assert model_management_pb2.ReloadConfigRequest(config=config).config == config


@pytest.mark.parametrize("path", MODEL_FILES, ids=lambda path: path.name)
def test_souk_serve_reads_the_same_models(path, tmp_path):
    (tmp_path / "souk").mkdir()
    here = tmp_path / path.name
    here.write_text(path.read_text().replace('"/models/', f'"{tmp_path}/'))
    (model,) = model_config.read(here)
    assert (model.name, model.base) == ("souk", tmp_path / "souk")
    if path.name == "models.config":
        assert (model.policy, dict(model.labels)) == (versions.Latest(1), {})
    else:
        assert model.policy == versions.Specific(frozenset(model.labels.values()))
        assert set(model.labels) == {"stable", "canary"}


def test_batching_suits_both_servers_and_waits_for_no_company(caplog):
    batching.read_options(CONFIGS / "batching.config")
    assert caplog.messages == []


def test_no_file_lets_an_empty_request_end_the_server():
    """A Predict of 0 rows is a failed CHECK in a TensorFlow Serving that pads batches to allowed sizes."""
    files = [path for folder in (SERVING, ROOT / "docs") for path in folder.rglob("*") if path.is_file()]
    texts = {path: path.read_bytes().decode(errors="replace") for path in files}
    assert CONFIGS / "batching.config" in texts
    assert [path for path, text in texts.items() if SETS_BATCH_SIZES.search(text)] == []


@pytest.mark.parametrize(
    ("text", "sets"),
    [
        ("allowed_batch_sizes: 16", True),
        ("    allowed_batch_sizes : 1", True),
        ("allowed_batch_sizes: [1, 4]", True),
        ("max_batch_size { value: 4 } allowed_batch_sizes:4", True),
        ("# No allowed_batch_sizes: TensorFlow Serving would pad", False),
        ("repeated int64 allowed_batch_sizes = 6;", False),
        ('"%s: allowed_batch_sizes are followed here', False),
    ],
)
def test_a_file_that_sets_batch_sizes_is_found(text, sets):
    assert bool(SETS_BATCH_SIZES.search(text)) is sets


def test_monitoring_is_switched_on_where_souk_serve_has_it():
    config = text_format.Parse((CONFIGS / "monitoring.config").read_text(), monitoring_config()())
    assert config.prometheus_config.enable
    assert config.prometheus_config.path == "/monitoring/prometheus/metrics"
