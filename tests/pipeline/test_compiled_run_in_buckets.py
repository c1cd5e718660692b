"""A compiled pipeline whose logs, artifacts, ledger and pushed versions are all in buckets.

It takes three minutes and proves in buckets what `test_compiled_run` proves on folders, so it runs when it is asked
for: SOUK_SLOW_TESTS=1.
"""

from dataclasses import replace

import pytest

from tests.cloud.account import write_key_file
from tests.cloud.cluster import CloudCluster
from tests.cloud.http import SignIn
from tests.cloud.proxy import Proxy
from tests.cloud.shop import upload
from tests.cloud.storage import Storage
from tests.conftest import souk

TOKEN = "ya29.a-token-that-nobody-may-see-1234567890"
DATE = "2025-04-14"
PARAMETERS = {
    "date": f"{DATE}T02:30:00Z",
    "train": "model=two_tower epochs=1",
    "gate": "min_recall=0.01 must_beat=[]",
}


@pytest.mark.slow
def test_a_run_in_buckets_pushes_and_shows_no_credential(tmp_path, clean_environment) -> None:
    logs = tmp_path / "logs"
    souk("simulate", "--preset", "tiny", "--out", str(logs))
    (logs / "catalog.jsonl.gz").rename(logs / f"catalog-{DATE}.jsonl.gz")
    storage, sign_in = Storage("shop", "logs"), SignIn(TOKEN)
    upload(storage, logs, "logs", "tiny")
    proxy = Proxy(sign_in, storage, folder=tmp_path)
    key_file = tmp_path / "key.json"
    write_key_file(key_file, proxy.address)
    settings = {
        "root": "gs://shop/souk",
        "ingest.data.events": "gs://logs/tiny/events/*.jsonl.gz",
        "ingest.data.catalog": "'gs://logs/tiny/catalog-{date}.jsonl.gz'",
        "ingest.data.users": "gs://logs/tiny/users.jsonl.gz",
    }
    options = [part for name, value in settings.items() for part in ("--set", f"{name}={value}")]
    compiled = tmp_path / "pipeline.yaml"
    souk(
        "compile", "--config", "tiny", *options, "--target", "kubeflow", "--image", "souk:1", "--output", str(compiled)
    )
    scratch = tmp_path / "scratch"
    google = {"STORAGE_EMULATOR_HOST": proxy.address, "GOOGLE_APPLICATION_CREDENTIALS": str(key_file)}
    variables = {**clean_environment.variables, **proxy.environment(), **google}
    image = replace(clean_environment, variables=variables)
    cluster = CloudCluster(buckets={}, scratch=scratch, image=image, storage=storage)
    steps = cluster.run(compiled, PARAMETERS)
    proxy.close()

    pushed = steps["Pusher"]
    assert pushed.property("pushed_model", "pushed") == 1
    version = pushed.property("pushed_model", "pushed_destination").removeprefix("gs://shop/")
    names = storage.names("shop")
    assert f"{version}/saved_model.pb" in names
    assert any(name.startswith("souk/ledger/servables/") for name in names)
    assert not [name for name in names if "of-an-earlier-attempt" in name]
    assert {step.attempts for step in steps.values()} == {1}

    secrets = [TOKEN, *key_file.read_text().split("\\n")[1:-2]]
    assert len(secrets) > 20
    places = {name: kept.data for name, kept in storage.buckets["shop"].items()}
    places |= {str(path): path.read_bytes() for path in scratch.rglob("*") if path.is_file()}
    assert {place for place, data in places.items() for secret in secrets if secret.encode() in data} == set()
