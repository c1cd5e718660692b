import pytest
from click.testing import CliRunner

from components.example_gen.config import IngestConfig
from pipeline.cli import main
from pipeline.config import PRESETS, load
from schema.secrets import MASK, credentials_in, looks_like, mask
from schema.settings import InputError, override

DATA = {"events": "e.jsonl", "catalog": "c.jsonl"}
SECRET = "t0p-5ecret_value"
KEY = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASC"


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        (f"https://user:{SECRET}@shop.example/logs", SECRET),
        (f"s3://{SECRET}:pass@bucket/logs/*.jsonl", SECRET),
        (f"https://storage.googleapis.com/shop/e.jsonl?X-Goog-Algorithm=GOOG4&X-Goog-Signature={SECRET}&x=1", SECRET),
        (f"https://shop.s3.amazonaws.com/e.jsonl?AWSAccessKeyId=A&Signature={SECRET}", SECRET),
        (f"https://shop.blob.core.windows.net/c/e.jsonl?sv=2024&sig={SECRET}", SECRET),
        (f"gs://shop/e.jsonl?access_token={SECRET}", SECRET),
        (f"https://shop.example/e.jsonl?key={SECRET}", SECRET),
        (f"--s3_secret_access_key={SECRET}", SECRET),
        (f"--azure_connection_string {SECRET}", SECRET),
        (f"-----BEGIN PRIVATE KEY-----\n{KEY}\n-----END PRIVATE KEY-----\n", KEY),
        (f'{{"type": "service_account", "private_key": "{SECRET}"}}', SECRET),
        (f"AIza{'b' * 35}", "b" * 35),
        (f"ya29.{SECRET}", SECRET),
        ("AKIAABCDEFGHIJKLMNOP", "ABCDEFGHIJKLMNOP"),
        (f"ghp_{'c' * 36}", "c" * 36),
        ("eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJzaG9wIn0.c2lnbmF0dXJl", "c2lnbmF0dXJl"),
        (f"Authorization: Bearer {SECRET}", SECRET),
    ],
)
def test_what_looks_like_a_credential_is_known_and_blackened(text: str, secret: str) -> None:
    assert looks_like(text)
    assert secret not in mask(text)
    assert MASK in mask(text)
    assert next(iter(credentials_in({"a": {"b": ["x", text]}})))[0] == "a.b"


@pytest.mark.parametrize(
    "text",
    [
        "gs://shop-logs/events/{date}/*.jsonl.gz",
        "bigquery://shop-project.logs.events?where=token = 'x' AND secret_sale",
        "/data/user:name@host/e.jsonl",
        "https://pipelines.shop.example:8080/apis?page=2",
        "--runner=DataflowRunner",
        "--service_account_email=souk@shop-project.iam.gserviceaccount.com",
        "--max_token_count=3",
        "projects/shop/locations/eu/keyRings/ring/cryptoKeys/key",
        "europe-docker.pkg.dev/shop/souk/souk:0.1.0",
    ],
)
def test_addresses_and_options_without_one_are_left_alone(text: str) -> None:
    assert looks_like(text) is None
    assert mask(text) == text


def test_the_presets_hold_no_credential() -> None:
    assert [load(path.stem).name for path in PRESETS.glob("*.yaml")]


@pytest.mark.parametrize(
    ("values", "where"),
    [
        ({"data": DATA | {"events": f"https://u:{SECRET}@h/e.jsonl"}}, "`data.events` .*a password within an address"),
        ({"data": DATA | {"users": ["u.jsonl", f"s3://b/u.csv?token={SECRET}"]}}, "`data.users` .*a token or a sig"),
        ({"data": DATA, "bigquery": {"api_key": SECRET}}, "`bigquery.api_key` .*a secret, by its name"),
        ({"data": DATA, "options": ["--s3_secret_access_key", SECRET]}, "`options` .*a secret given as an option"),
    ],
)
def test_a_credential_in_settings_is_refused_and_not_shown(values: dict, where: str) -> None:
    with pytest.raises(InputError, match=f"(?s)^shop.yaml holds credentials.*{where}.*by the environment") as caught:
        IngestConfig.parse(values, "shop.yaml")
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    "overrides",
    [
        f"data.events=https://u:{SECRET}@h/e.jsonl",
        f"data.events='s3://b/e?access_token={SECRET}",
        f"data.events.access_token=https://u:{SECRET}@h/",
    ],
)
def test_a_credential_in_overrides_is_refused_and_not_shown(overrides: str) -> None:
    with pytest.raises(InputError) as caught:
        IngestConfig.from_json(IngestConfig.parse({"data": DATA}).to_json(), "config_json", overrides)
    assert SECRET not in str(caught.value)


def test_a_wrong_value_is_shown_without_the_credential_in_it() -> None:
    with pytest.raises(InputError) as caught:
        override({"a": f"https://u:{SECRET}@h/"}, "a.b=1")
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    "arguments",
    [
        ("--set", f"ingest.data.events=https://u:{SECRET}@h/e.jsonl", "--out", "x"),
        ("--set", f"beam.options=[--s3_secret_access_key={SECRET}]", "--out", "x"),
        ("--out", f"https://u:{SECRET}@h/out"),
    ],
)
def test_commands_refuse_a_credential_and_do_not_repeat_it(arguments: tuple[str, ...]) -> None:
    result = CliRunner().invoke(main, ["ingest", "--config", "tiny", *arguments])
    assert result.exit_code == 2
    assert "credential" in result.output
    assert SECRET not in result.output
