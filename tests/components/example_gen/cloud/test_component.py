"""Ingestion as a step of TFX whose inputs and artifacts are all in the cloud, and what it tells of keys."""

import io
import logging
from pathlib import Path

import pytest
import tensorflow as tf
from tfx.orchestration import metadata
from tfx.orchestration.beam.beam_dag_runner import BeamDagRunner
from tfx.orchestration.pipeline import Pipeline
from tfx.types import artifact_utils

from components.example_gen.component import SoukExampleGen
from components.example_gen.fingerprint import fingerprint
from tests.cloud.account import KEY_ID
from tests.cloud.shop import configured, put_shop, upload
from tests.components.example_gen.cloud.conftest import TOKEN, Cloud
from tests.components.example_gen.small_shop import make_shop, write_shop


@pytest.fixture(scope="module")
def run(cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The log is in tables, catalog and artifacts are in a bucket; gives the folder and all that was logged."""
    folder = tmp_path_factory.mktemp("pipeline")
    shop = make_shop(60)
    write_shop(folder / "in", shop)
    upload(cloud.storage, folder / "in", "shop", "logs")
    data = put_shop(cloud.bigquery, shop) | {"catalog": "gs://shop/logs/catalog.jsonl"}
    config = configured(data)
    logged = io.StringIO()
    handler = logging.StreamHandler(logged)
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        examples = SoukExampleGen(config_json=config.to_json(), fingerprint=fingerprint(config))
        BeamDagRunner().run(
            Pipeline(
                pipeline_name="cloud",
                pipeline_root="gs://shop/runs",
                components=[examples],
                metadata_connection_config=metadata.sqlite_metadata_connection_config(str(folder / "metadata.sqlite")),
                beam_pipeline_args=["--runner=FnApiRunner"],
            )
        )
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
    return folder, logged.getvalue()


def test_the_artifact_is_in_the_bucket_and_tensorflow_reads_it(cloud: Cloud, run) -> None:
    folder, _ = run
    connection = metadata.sqlite_metadata_connection_config(str(folder / "metadata.sqlite"))
    with metadata.Metadata(connection) as handler:
        (found,) = handler.store.get_artifacts_by_type("Examples")
        examples = artifact_utils.deserialize_artifact(handler.store.get_artifact_type("Examples"), found)
    assert examples.uri.startswith("gs://shop/runs/")
    assert examples.get_int_custom_property("examples.catalog") == 30
    names = cloud.storage.names("shop")
    below = examples.uri.removeprefix("gs://shop/")
    assert f"{below}/user_state.parquet" in names
    assert f"{below}/summary.json" in names
    for split in ("train", "eval", "catalog"):
        files = tf.io.gfile.glob(f"{examples.uri}/Split-{split}/*.tfrecord.gz")
        rows = tf.data.TFRecordDataset(files, compression_type="GZIP").reduce(0, lambda rows, _: rows + 1)
        assert int(rows) == examples.get_int_custom_property(f"examples.{split}") > 0


def test_no_credential_is_in_an_artifact_the_metadata_or_a_log(cloud: Cloud, run) -> None:
    folder, logged = run
    assert cloud.sign_in.granted >= 2, "TensorFlow and the Python clients both signed in"
    places = {name: kept.data for name, kept in cloud.storage.buckets["shop"].items()}
    places |= {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    places["log"] = logged.encode()
    secrets = [TOKEN, KEY_ID, *cloud.private_key.splitlines()[1:-1]]
    assert len(secrets) > 20
    seen = {place for place, data in places.items() for secret in secrets if secret.encode() in data}
    assert seen == set()
    # What is no secret is found where it should be, so the search sees what is there.
    assert b"gs://shop/logs/catalog.jsonl" in places[str(folder / "metadata.sqlite")]
    assert b"bigquery://shop-project.logs.events" in places[str(folder / "metadata.sqlite")]
    assert "SoukExampleGen" in logged
