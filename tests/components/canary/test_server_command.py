import re

import pytest
import yaml

from components.canary.config import CanaryConfig
from components.canary.server_command import PLACEHOLDERS, fill
from schema.settings import InputError
from tests.serving.deployment.files import FLAGS, ROOT

COMMAND = "server --port={port} --rest={rest_port} --model_name={model_name} --model_base_path={model_dir}"


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("", "it is empty; leave the setting out for `souk serve`"),
        ("  ", "it is empty"),
        ("server 'a {port} {model_name} {model_dir}", "cannot be parted into words .*: No closing quotation"),
        ("server {model_name} {model_dir}", r"it needs \{port\}: where gRPC must answer on 127\.0\.0\.1"),
        ("server {port} {model_dir}", r"it needs \{model_name\}: name that the model must be served under"),
        ("server {port} {model_name}", r"it needs \{model_dir\} or \{version_dir\}: folder of the model's versions"),
        (COMMAND + " {prot}", r"\{prot\} is no placeholder; known are \{port\}, \{rest_port\}, .*write \{\{ and \}\}"),
        (COMMAND + " {}", r"\{\} is no placeholder"),
        (COMMAND + " {port:x}", r"\{port:x\} is no placeholder"),
        (COMMAND + " {port!r}", r"\{port!r\} is no placeholder"),
        (COMMAND + " {port.real}", r"\{port\.real\} is no placeholder"),
        (COMMAND + " {port", "its braces do not pair: expected '}'"),
        (COMMAND + " }", "its braces do not pair: Single '}'"),
        (["server", "{port}"], "valid string"),
    ],
)
def test_a_command_that_can_start_nothing_is_refused(command, message):
    with pytest.raises(InputError, match=f"`server_command`: .*{message}"):
        CanaryConfig.parse({"server_command": command})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"server_ready": "http://127.0.0.1:{port}"}, "about the server of `server_command`, which is not given"),
        ({"server_command": COMMAND, "server_ready": "127.0.0.1:{port}"}, "must be an address like http://127"),
        ({"server_command": COMMAND, "server_ready": "http://127.0.0.1:8501"}, "must be an address like http://127"),
        ({"server_command": COMMAND, "server_ready": "http://a:{prot}"}, r"\{prot\} is no placeholder"),
        (
            {"server_command": COMMAND.replace("{rest_port}", "1"), "server_ready": "http://127.0.0.1:{rest_port}"},
            r"`server_ready` asks \{rest_port\}, which `server_command` does not open",
        ),
    ],
)
def test_a_ready_check_that_can_tell_nothing_is_refused(values, message):
    with pytest.raises(InputError, match=message):
        CanaryConfig.parse(values)


def test_a_value_stays_in_its_word():
    words = fill("'a b' --dir={model_dir}/x {{.State}} \"{port}\" $HOME", {"model_dir": "/my models/{port}", "port": 7})
    assert words == ["a b", "--dir=/my models/{port}/x", "{.State}", "7", "$HOME"]


def test_the_servers_of_the_docs_are_taken():
    page = (ROOT / "docs" / "deployment.md").read_text()
    blocks = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)]
    configs = [CanaryConfig.parse(block["canary"]) for block in blocks if "canary" in block]
    assert {config.server_command.split()[0] for config in configs} == {"tensorflow_model_server", "docker"}
    for config in configs:
        words = fill(config.server_command, dict.fromkeys(PLACEHOLDERS, "x"))
        given = {word[2:].partition("=")[0] for word in words if re.match(r"--\w*_\w*=|--port=", word)}
        assert {"port", "model_name", "model_base_path"} - {"port"} <= given <= set(FLAGS)
        # Otherwise a candidate that does not load is tried for five minutes before the server ends.
        assert "--max_num_load_retries=0" in words
