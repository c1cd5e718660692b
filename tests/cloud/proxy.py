"""An HTTPS proxy that answers for Google itself, for clients that know no emulator: TensorFlow's file system.

It speaks for Google's hosts, with a certificate of an authority of its own; who is told of the proxy by `https_proxy`
and of the authority by `CURL_CA_BUNDLE` takes it for Google.
"""

import datetime
import ssl
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.cloud.http import Server, Service

HOSTS = (
    "www.googleapis.com",
    "storage.googleapis.com",
    "oauth2.googleapis.com",
    # Asked where the account may be used from.
    "iamcredentials.googleapis.com",
)


class Proxy(Server):
    """Serves like `Server`, behind CONNECT.

    Args:
      services: asked in this order, until one answers.
      folder: where the certificate is kept.

    Attributes:
      certificate: the file that a client must trust.
    """

    def __init__(self, *services: Service, folder: Path):
        super().__init__(*services)
        self.certificate = folder / "authority.pem"
        key_file = folder / "authority.key"
        _write_certificate(self.certificate, key_file)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, key_file)
        plain: Any = self._server.RequestHandlerClass

        class Tunnel(plain):  # type: ignore[misc]
            def do_CONNECT(self) -> None:  # noqa: N802
                self.send_response(200, "Connection established")
                self.end_headers()
                self.wfile.flush()
                host = self.path.rpartition(":")[0]
                self.connection = context.wrap_socket(self.connection, server_side=True)
                self.setup_streams()
                self.origin = f"https://{host}"
                self.close_connection = False

            def setup_streams(self) -> None:
                self.rfile = self.connection.makefile("rb", -1)
                self.wfile = self.connection.makefile("wb", 0)

        self._server.RequestHandlerClass = Tunnel

    def environment(self) -> dict[str, str]:
        """The variables that lead a process of TensorFlow here."""
        return {"https_proxy": self.address, "no_proxy": "127.0.0.1", "CURL_CA_BUNDLE": str(self.certificate)}


def _write_certificate(certificate: Path, key_file: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "An authority for tests")])
    now = datetime.datetime.now(datetime.UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=2))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host) for host in HOSTS]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    certificate.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
