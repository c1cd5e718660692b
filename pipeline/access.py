"""What a command shows to a server to be let in: the options, and what they come to."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import click
import grpc

from schema.settings import InputError


@dataclass(frozen=True)
class Access:
    """How to speak to a server: None speaks in clear text, and shows no token."""

    credentials: grpc.ChannelCredentials | None = None
    token: str | None = None


def access_options(function: Callable[..., None]) -> Callable[..., None]:
    """Gives a click command the options `token_file` and `ca`, which `access` takes."""
    token = click.option(
        "--token-file", type=click.Path(path_type=Path), metavar="FILE", help="Holds the token to show."
    )
    authority = click.option(
        "--ca", type=click.Path(path_type=Path), metavar="FILE", help="Speak TLS; authority of the server."
    )
    return token(authority(function))


def access(token_file: Path | None, ca: Path | None) -> Access:
    """What the files hold.

    Raises:
      InputError: if one cannot be read.
    """
    return Access(
        None if ca is None else grpc.ssl_channel_credentials(read_file(ca, "--ca")),
        None if token_file is None else read_file(token_file, "--token-file").decode("utf-8-sig").strip(),
    )


def read_file(path: Path, option: str) -> bytes:
    """The content of a file that was named with `option`.

    Raises:
      InputError: if it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}). Check the path given with {option}.") from error
