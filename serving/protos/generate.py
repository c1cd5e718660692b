"""Writes the `_pb2` modules anew from the `.proto` files of client and server: `python -m serving.protos.generate`.

Needs grpcio-tools (the development environment has it), whose compiler must not be newer than the
protobuf that Souk runs on: 1.62 writes code for protobuf 4.25.
"""

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
FOLDERS = ("souk_client/protos", "serving/protos")
# Generated stubs keep their generated shape; the linter and the formatter leave them alone.
_STUB_HEADER = "# ruff: noqa\n# fmt: off\n"


def generate(out: Path) -> list[Path]:
    """Compiles every `.proto` of `FOLDERS` into the same folders of `out`; returns the written files.

    Raises:
      RuntimeError: if the protocol buffer compiler refuses a file.
    """
    from grpc_tools import protoc

    sources = [str(path.relative_to(ROOT)) for folder in FOLDERS for path in sorted((ROOT / folder).glob("*.proto"))]
    well_known = Path(protoc.__file__).parent / "_proto"
    arguments = [
        "protoc",
        f"-I{ROOT}",
        f"-I{well_known}",
        f"--python_out={out}",
        f"--pyi_out={out}",
        *sources,
    ]
    code = protoc.main(arguments)
    if code != 0:
        raise RuntimeError(f"protoc ended with code {code} on {', '.join(sources)}")
    written = sorted(path for folder in FOLDERS for path in (out / folder).glob("*_pb2.py*"))
    for path in written:
        if path.suffix == ".pyi":
            path.write_text(_STUB_HEADER + path.read_text())
    return written


def main() -> None:
    """Entry point of `python -m serving.protos.generate`."""
    parser = argparse.ArgumentParser(description="Write Souk's _pb2 modules anew.")
    parser.add_argument("--out", type=Path, default=ROOT, help="root of the tree to write into (default: this one)")
    for path in generate(parser.parse_args().out):
        print(path, file=sys.stderr)


if __name__ == "__main__":
    main()
