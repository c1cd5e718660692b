"""A fingerprint of the inputs, so that changed data is never served from a pipeline's cache."""

import hashlib
import os
from collections.abc import Mapping

from components.example_gen.config import INPUTS, IngestConfig
from components.example_gen.files import InputFile, open_raw
from components.example_gen.inputs import Input, find_inputs
from components.example_gen.readers import columns_of_folders

# Up to this size a file is hashed whole, at about a second per gigabyte.
_WHOLE_BYTES = 256 << 20
_SAMPLES = 64
_SAMPLE_BYTES = 1 << 20


def fingerprint(config: IngestConfig) -> str:
    """Hexadecimal text that changes if an input file or table appears, goes or changes, or a setting does.

    Of a local file the name counts, and of its folders those that hold a column: a copy of the same files has the same
    fingerprint. One of up to 256 MiB is hashed whole, so that writing the same content anew changes nothing. A larger
    one is told by its size, time of change and 64 samples of 1 MiB; a remote one by what its file system says; a table
    by what BigQuery says of it: when it changed, how many rows it has, its version.

    Raises:
      InputError: if an input is missing or empty.
    """
    data = config.dated_data
    return _digest(config, {name: getattr(data, name) for name in INPUTS})


def catalog_fingerprint(config: IngestConfig) -> str:
    """The same of the catalog alone, whatever the log and the day are.

    Raises:
      InputError: if the catalog is missing or empty.
    """
    own = config.for_catalog()
    return _digest(own, {"catalog": own.data.catalog})


def _digest(config: IngestConfig, inputs: Mapping[str, tuple[str, ...]]) -> str:
    # Not where local files are: those of a folder that was moved are the same.
    settings = config.model_copy(update={"data": config.data.model_copy(update=dict.fromkeys(INPUTS, ()))})
    digest = hashlib.blake2b(settings.to_json().encode(), digest_size=16)
    for what, patterns in inputs.items():
        for source in find_inputs(patterns, what) if patterns else ():
            name, columns = source.path, columns_of_folders(source.path)
            if os.path.exists(name):
                name = os.path.basename(name)
            digest.update(f"\n{what}\t{name}\t{columns}\t{source.size}\t".encode())
            digest.update(_content(source))
    return digest.hexdigest()


def _content(file: Input) -> bytes:
    if not isinstance(file, InputFile) or not os.path.exists(file.path):
        return file.version.encode()
    digest = hashlib.blake2b(digest_size=16)
    with open_raw(file.path) as stream:
        if file.size <= _WHOLE_BYTES:
            while chunk := stream.read(_SAMPLE_BYTES):
                digest.update(chunk)
        else:
            digest.update(str(file.changed).encode())
            for sample in range(_SAMPLES):
                stream.seek((file.size - _SAMPLE_BYTES) * sample // (_SAMPLES - 1))
                digest.update(stream.read(_SAMPLE_BYTES))
    return digest.digest()
