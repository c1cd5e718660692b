"""Writes the `_pb2` modules of this folder anew from its `.proto` files: `python -m serving.protos.generate`.

Needs grpcio-tools (the development environment has it), whose compiler must not be newer than the
protobuf that Souk runs on: 1.62 writes code for protobuf 4.25.
"""

import argparse
import sys
from pathlib import Path

PROTOS = Path(__file__).resolve().parent
ROOT = PROTOS.parent.parent
# Generated stubs keep their generated shape; the linter and the formatter leave them alone.
_STUB_HEADER = "# ruff: noqa\n# fmt: off\n"


def generate(out: Path) -> list[Path]:
    """Compiles every `.proto` of this folder into `out`/serving/protos; returns the written files.

    Raises:
      RuntimeError: if the protocol buffer compiler refuses a file.
    """
    from grpc_tools import protoc

    sources = sorted(str(path.relative_to(ROOT)) for path in PROTOS.glob("*.proto"))
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
    folder = out / PROTOS.relative_to(ROOT)
    for stub in folder.glob("*_pb2.pyi"):
        stub.write_text(_STUB_HEADER + stub.read_text())
    return sorted(folder.glob("*_pb2.py*"))


def main() -> None:
    """Entry point of `python -m serving.protos.generate`."""
    parser = argparse.ArgumentParser(description="Write Souk's _pb2 modules anew.")
    parser.add_argument("--out", type=Path, default=ROOT, help="root of the tree to write into (default: this one)")
    for path in generate(parser.parse_args().out):
        print(path, file=sys.stderr)


if __name__ == "__main__":
    main()
