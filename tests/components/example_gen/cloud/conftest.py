"""Google's services on this machine, and an account that may use them."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from apache_beam.internal.gcp import auth as beam_auth
from google.auth import credentials

from components.example_gen.readers import bigquery as reader
from tests.cloud.account import write_key_file
from tests.cloud.bigquery import BigQuery
from tests.cloud.http import SignIn
from tests.cloud.proxy import Proxy
from tests.cloud.storage import Storage

TOKEN = "ya29.a-token-that-nobody-may-see-1234567890"


@dataclass(frozen=True)
class Cloud:
    """The services, and the file of the account's key."""

    server: Proxy
    sign_in: SignIn
    storage: Storage
    bigquery: BigQuery
    key_file: Path

    @property
    def private_key(self) -> str:
        """What nobody may see."""
        return str(json.loads(self.key_file.read_text())["private_key"])


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """Google Cloud as Souk's clients see it: all requests go to servers of this process, which ask for a token that is
    had with the key in GOOGLE_APPLICATION_CREDENTIALS alone.
    """
    storage, bigquery, sign_in = Storage("shop"), BigQuery(), SignIn(TOKEN)
    folder = tmp_path_factory.mktemp("account")
    server = Proxy(sign_in, bigquery, storage, folder=folder)
    key_file = folder / "key.json"
    write_key_file(key_file, server.address)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(key_file))
        patch.setenv("STORAGE_EMULATOR_HOST", server.address)
        patch.setenv("BIGQUERY_EMULATOR_HOST", server.address)
        patch.setenv("BIGQUERY_STORAGE_EMULATOR_HOST", bigquery.address)
        patch.delenv("GOOGLE_CLOUD_PROJECT", raising=False)
        # TensorFlow knows no emulator.
        for name, value in server.environment().items():
            patch.setenv(name, value)
        # The library would ask Google where the account may be used from.
        boundary = credentials.CredentialsWithRegionalAccessBoundary
        patch.setattr(boundary, "_is_regional_access_boundary_lookup_required", lambda _: False)
        # Small tables too are read in several streams.
        patch.setattr(reader, "STREAM_BYTES", 1000)
        # Beam keeps the first credentials that it finds in a process.
        patch.setattr(beam_auth._Credentials, "_credentials_init", False)
        patch.setattr(beam_auth._Credentials, "_credentials", None)
        yield Cloud(server, sign_in, storage, bigquery, key_file)
    server.close()
    bigquery.close()
