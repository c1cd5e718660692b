"""The clients of BigQuery, with the credentials that the environment gives; none are ever in a setting."""

import os
from typing import TYPE_CHECKING, Any, Final

from components.example_gen.cloud_errors import explain
from schema.settings import InputError

if TYPE_CHECKING:
    from google.cloud.bigquery import Client
    from google.cloud.bigquery_storage_v1 import BigQueryReadClient

_SCOPES: Final = ("https://www.googleapis.com/auth/cloud-platform",)
# An emulator's address of REST, as Google's own client knows it, and of gRPC (host:port).
REST_EMULATOR: Final = "BIGQUERY_EMULATOR_HOST"
GRPC_EMULATOR: Final = "BIGQUERY_STORAGE_EMULATOR_HOST"
_UNLIMITED: Final = (("grpc.max_receive_message_length", -1),)


def tables_client(project: str) -> "Client":
    """A client that describes tables.

    Raises:
      InputError: the environment has no credentials.
    """
    from google.cloud.bigquery import Client

    credentials, _ = _credentials(bool(os.environ.get(REST_EMULATOR)))
    return Client(project=project, credentials=credentials)


def read_client() -> "BigQueryReadClient":
    """A client that reads rows.

    Raises:
      InputError: the environment has no credentials.
    """
    from google.cloud.bigquery_storage_v1 import BigQueryReadClient

    emulator = os.environ.get(GRPC_EMULATOR)
    if not emulator:
        return BigQueryReadClient(credentials=_credentials()[0])
    import grpc
    from google.cloud.bigquery_storage_v1.services.big_query_read.transports import BigQueryReadGrpcTransport

    channel = grpc.insecure_channel(emulator, options=_UNLIMITED)
    return BigQueryReadClient(transport=BigQueryReadGrpcTransport(channel=channel))


def default_project() -> str:
    """The project of the environment: GOOGLE_CLOUD_PROJECT or that of the credentials; "" if there is none."""
    return str(os.environ.get("GOOGLE_CLOUD_PROJECT") or _credentials(bool(os.environ.get(REST_EMULATOR)))[1] or "")


def _credentials(anonymous_will_do: bool = False) -> tuple[Any, str | None]:
    import google.auth
    from google.auth.credentials import AnonymousCredentials
    from google.auth.exceptions import DefaultCredentialsError

    try:
        found: tuple[Any, str | None] = google.auth.default(scopes=_SCOPES)
    except DefaultCredentialsError as error:
        if anonymous_will_do:
            return AnonymousCredentials(), None
        raise InputError(f"BigQuery cannot be read: {explain(error, '')}") from None
    return found
