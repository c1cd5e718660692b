"""Who may ask, and over what: bearer tokens and TLS."""

import hashlib
import hmac
import ssl
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc

from schema.settings import InputError
from serving.protos.server_config_pb2 import SSLConfig
from serving.server import health, text_protos

_SCHEME = "bearer "
_REFUSAL = "a valid bearer token is needed"


class TokenCheck:
    """Tells whether the value of an `authorization` header holds one of the tokens.

    Comparing takes as long for a wrong token as for a right one.
    """

    def __init__(self, tokens: list[str]) -> None:
        self._digests = [_digest(token) for token in tokens]

    def __call__(self, header: str) -> bool:
        """Whether a request with this header may come in."""
        if not header.lower().startswith(_SCHEME):
            return False
        given = _digest(header[len(_SCHEME) :].strip())
        # All are compared, whichever fits.
        return sum(hmac.compare_digest(given, digest) for digest in self._digests) > 0


def read_tokens(path: Path) -> TokenCheck:
    """The check for the tokens in a file, one a line; with several, clients can change from one to the next.

    Raises:
      InputError: if the file cannot be read or holds no token.
    """
    try:
        tokens = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"The token file {path} cannot be read: {error}. Check --auth-token-file.") from None
    if not tokens:
        raise InputError(f"The token file {path} is empty. Write one token a line into it.")
    return TokenCheck(tokens)


class TokenInterceptor(grpc.ServerInterceptor):
    """Refuses gRPC calls without a valid token, but for health checks."""

    def __init__(self, admit: Callable[[str], bool]) -> None:
        self._admit = admit
        self._refuse = grpc.unary_unary_rpc_method_handler(_refuse)

    def intercept_service(self, continuation: Callable[[Any], Any], handler_call_details: Any) -> Any:
        """See `grpc.ServerInterceptor`."""
        if handler_call_details.method.startswith(f"/{health.SERVICE}/"):
            return continuation(handler_call_details)
        headers = dict(handler_call_details.invocation_metadata)
        return (
            continuation(handler_call_details) if self._admit(str(headers.get("authorization", ""))) else self._refuse
        )


@dataclass(frozen=True)
class Tls:
    """The same keys for both ports."""

    grpc: grpc.ServerCredentials
    http: ssl.SSLContext


def read_tls(path: Path) -> Tls:
    """The keys in a file that holds TensorFlow Serving's SSLConfig.

    Raises:
      InputError: if the file cannot be read, or its keys do not fit together.
    """
    config = text_protos.read(
        path, SSLConfig, "--ssl-config-file", 'server_key: "<PEM>" server_cert: "<PEM>" with \\n for line ends'
    )
    if not config.server_key or not config.server_cert:
        raise InputError(f"{path}: server_key and server_cert are both needed, as PEM texts with \\n for line ends.")
    if config.client_verify and not config.custom_ca:
        raise InputError(f"{path}: client_verify needs custom_ca, the authority that clients' certificates come from.")
    try:
        context = _context(config)
    except (ssl.SSLError, ValueError) as error:
        raise InputError(f"{path}: the key and certificates cannot be used: {error}") from None
    credentials = grpc.ssl_server_credentials(
        [(config.server_key.encode(), config.server_cert.encode())],
        root_certificates=config.custom_ca.encode() or None,
        require_client_auth=config.client_verify,
    )
    return Tls(credentials, context)


def _context(config: SSLConfig) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    # Python's ssl reads keys from files only; this folder can be read by this user alone, and is gone at once.
    with tempfile.TemporaryDirectory() as folder:
        key, certificate = Path(folder) / "key.pem", Path(folder) / "certificate.pem"
        key.write_text(config.server_key)
        certificate.write_text(config.server_cert)
        context.load_cert_chain(certificate, key)
    if config.custom_ca:
        context.load_verify_locations(cadata=config.custom_ca)
    if config.client_verify:
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def _refuse(data: bytes, context: grpc.ServicerContext) -> None:
    context.abort(grpc.StatusCode.UNAUTHENTICATED, _REFUSAL)


def _digest(token: str) -> bytes:
    # Of one length, so that not even the length of a token shows.
    return hashlib.sha256(token.encode(errors="surrogateescape")).digest()
