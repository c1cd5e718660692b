"""TensorFlow Serving's configuration files in protobuf's text format."""

from pathlib import Path
from typing import TypeVar

from google.protobuf import text_format
from google.protobuf.message import Message

from schema.settings import InputError

_Message = TypeVar("_Message", bound=Message)


def read(path: Path, kind: type[_Message], option: str, example: str) -> _Message:
    """The message of type `kind` that a file holds.

    Args:
      path: the file.
      kind: what it must hold.
      option: the option that named the file, for messages.
      example: what such a file may say, for messages.

    Raises:
      InputError: if the file cannot be read or parsed.
    """
    try:
        # A byte order mark is no part of the text.
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read: {error}. Check {option}.") from None
    try:
        return text_format.Parse(text, kind())
    except text_format.ParseError as error:
        # The parser repeats the line that it fails on, and a configuration may hold a private key.
        where = f"line {error.GetLine()}" if error.GetLine() else "its end"
        raise InputError(
            f"{path} is not a {kind.DESCRIPTOR.name} in protobuf's text format; see {where}. "
            f"Such a file reads: {example}"
        ) from None
