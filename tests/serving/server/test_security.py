import datetime
import http.client
import ipaddress
import ssl

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from grpc_health.v1.health_pb2 import HealthCheckRequest

from schema.settings import InputError
from serving.protos.server_config_pb2 import SSLConfig
from serving.server.security import TokenCheck, read_tls, read_tokens
from souk_client.client import Client, ServingError
from tests.serving import tiny_retriever


class Authority:
    """A certificate authority that makes keys for 127.0.0.1."""

    def __init__(self, name: str) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.pem = self._certificate(self._name, self._key.public_key(), authority=True)

    def issue(self) -> tuple[str, str]:
        """A private key and its certificate in PEM."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return private.decode(), self._certificate(name, key.public_key(), authority=False)

    def _certificate(self, subject: x509.Name, public_key, authority: bool) -> str:
        now = datetime.datetime.now(datetime.UTC)
        address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
        certificate = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(hours=1))
            .add_extension(address, critical=False)
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        return certificate.public_bytes(serialization.Encoding.PEM).decode()


@pytest.fixture(scope="module")
def authority():
    return Authority("the shop's own")


def write_config(path, **fields):
    path.write_text(str(SSLConfig(**fields)))
    return str(path)


@pytest.fixture
def served(tmp_path, start_server):
    """Starts a server of version 1 with some settings."""

    def begin(**settings):
        tiny_retriever.push(tmp_path, 1)
        server = start_server(tmp_path, **settings)
        assert server.manager.wait_until_available(60)
        return server

    return begin


def http_status(address, *, token=None, context=None, path="/v1/models/souk"):
    kind = http.client.HTTPConnection if context is None else http.client.HTTPSConnection
    connection = kind(address, timeout=30, **({} if context is None else {"context": context}))
    connection.request("GET", path, headers={} if token is None else {"Authorization": f"Bearer {token}"})
    return connection.getresponse().status


def test_a_token_is_asked_for_on_both_ports_but_not_for_health(tmp_path, served):
    tokens = tmp_path / "tokens"
    tokens.write_text("old-token\n\n  new-token \n")
    server = served(auth_token_file=str(tokens))
    for token in ("old-token", "new-token"):
        with Client(server.address, token=token) as client:
            assert client.answer("red shoes").model_version == 1
        assert http_status(server.rest_address, token=token) == 200
    for token in (None, "wrong", "", "old-token new-token"):
        with Client(server.address, token=token) as client, pytest.raises(ServingError, match="bearer token") as caught:
            client.answer("red shoes")
        assert caught.value.code is grpc.StatusCode.UNAUTHENTICATED
        for path in ("/v1/models/souk", "/monitoring/prometheus/metrics", "/elsewhere"):
            assert http_status(server.rest_address, token=token, path=path) == 401
    with grpc.insecure_channel(server.address) as channel:
        channel.unary_unary("/grpc.health.v1.Health/Check", HealthCheckRequest.SerializeToString)(HealthCheckRequest())


def test_tls_is_spoken_on_both_ports(tmp_path, served, authority):
    key, certificate = authority.issue()
    server = served(ssl_config_file=write_config(tmp_path / "ssl", server_key=key, server_cert=certificate))
    with Client(server.address, credentials=grpc.ssl_channel_credentials(authority.pem.encode())) as client:
        assert client.answer("red shoes").model_version == 1
    assert http_status(server.rest_address, context=ssl.create_default_context(cadata=authority.pem)) == 200
    stranger = Authority("somebody else's").pem
    for credentials in (None, grpc.ssl_channel_credentials(stranger.encode())):
        with Client(server.address, credentials=credentials) as client, pytest.raises(ServingError) as caught:
            client.answer("red shoes")
        assert caught.value.code is grpc.StatusCode.UNAVAILABLE
    with pytest.raises(ssl.SSLError):
        http_status(server.rest_address, context=ssl.create_default_context(cadata=stranger))


def test_clients_must_show_a_certificate_where_that_is_asked(tmp_path, served, authority):
    (key, certificate), (client_key, client_certificate) = authority.issue(), authority.issue()
    config = write_config(
        tmp_path / "ssl", server_key=key, server_cert=certificate, custom_ca=authority.pem, client_verify=True
    )
    server = served(ssl_config_file=config)
    root = authority.pem.encode()
    known = grpc.ssl_channel_credentials(root, client_key.encode(), client_certificate.encode())
    with Client(server.address, credentials=known) as client:
        assert client.answer("red shoes").model_version == 1
    unknown = Client(server.address, credentials=grpc.ssl_channel_credentials(root))
    with unknown as client, pytest.raises(ServingError):
        client.answer("red shoes")
    context = ssl.create_default_context(cadata=authority.pem)
    with pytest.raises((ssl.SSLError, ConnectionError)):
        http_status(server.rest_address, context=context)
    (tmp_path / "key").write_text(client_key)
    (tmp_path / "certificate").write_text(client_certificate)
    context.load_cert_chain(tmp_path / "certificate", tmp_path / "key")
    assert http_status(server.rest_address, context=context) == 200


def test_unusable_keys_are_explained_without_being_shown(tmp_path, authority):
    key, certificate = authority.issue()
    other_key, _ = authority.issue()
    cases = {
        "both needed": ({"server_key": key}, "server_key and server_cert are both needed"),
        "not a pair": ({"server_key": other_key, "server_cert": certificate}, "cannot be used"),
        "not PEM": ({"server_key": "x", "server_cert": "y"}, "cannot be used"),
        "no authority": ({"server_key": key, "server_cert": certificate, "client_verify": True}, "needs custom_ca"),
    }
    for fields, message in cases.values():
        with pytest.raises(InputError, match=message) as caught:
            read_tls(tmp_path / write_config(tmp_path / "ssl", **fields))
        assert "PRIVATE KEY" not in str(caught.value)
    (tmp_path / "ssl").write_text(f'server_key: "{key}')
    with pytest.raises(InputError, match="is not a SSLConfig") as caught:
        read_tls(tmp_path / "ssl")
    assert key.splitlines()[1] not in str(caught.value)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("Bearer secret", True),
        ("bearer  secret ", True),
        ("Bearer secre", False),
        ("Bearer secrets", False),
        ("Basic secret", False),
        ("secret", False),
        ("Bearer", False),
        ("", False),
        ("Bearer \udc80", False),
    ],
)
def test_a_header_is_let_in_with_the_very_token(header, expected):
    assert TokenCheck(["another", "secret"])(header) is expected


@pytest.mark.parametrize(("content", "message"), [(None, "cannot be read"), ("\n \n", "is empty")])
def test_a_token_file_without_a_token_is_explained(tmp_path, content, message):
    if content is not None:
        (tmp_path / "tokens").write_text(content)
    with pytest.raises(InputError, match=message):
        read_tokens(tmp_path / "tokens")


def test_a_server_that_the_network_can_reach_says_so(served, caplog):
    served(host="0.0.0.0")
    assert [record.message for record in caplog.records if "can be reached from the network" in record.message]
