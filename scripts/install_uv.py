"""Puts uv, in the version that `uv.lock` pins, into a venv of its own: `python3 install_uv.py DIR`.

With pip where this Python has one. Debian's python3 comes without pip and ensurepip; there the wheel that the
lock names is fetched, checked against the lock's hash and unpacked. Standard library only, Python 3.9 or newer.
"""

import hashlib
import io
import os
import platform
import re
import subprocess
import sys
import urllib.request
import venv
import zipfile
from pathlib import Path

LOCK = Path(__file__).resolve().parent.parent / "uv.lock"


def locked_uv(lock: str, machine: str) -> "tuple[str, str, str]":
    """Version, wheel address and SHA-256 of uv for a glibc Linux on `machine`, as the text `lock` pins them.

    Raises:
      SystemExit: the lock pins no uv for this machine.
    """
    blocks = [block for block in lock.split("[[package]]") if '\nname = "uv"\n' in block]
    if not blocks:
        raise SystemExit("uv.lock names no uv; run `uv lock` in a checkout of Souk")
    version = re.findall(r'^version = "([^"]+)"', blocks[0], re.MULTILINE)[0]
    wheels = re.findall(r'url = "([^"]+\.whl)", hash = "sha256:([0-9a-f]{64})"', blocks[0])
    for url, sha256 in wheels:
        if "manylinux" in url and url.endswith(f"{machine}.whl"):
            return version, url, sha256
    raise SystemExit(f"uv.lock names no uv for Linux on {machine}; Souk's packages exist for x86_64 alone")


def install_with_pip(version: str, directory: Path) -> bool:
    """Whether a venv with pip could be made at `directory` and pip put uv into it."""
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    made = subprocess.run([sys.executable, "-m", "venv", "--clear", str(directory)], **quiet)
    if made.returncode != 0:
        return False
    pip = [str(directory / "bin/python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    return subprocess.run([*pip, f"uv=={version}"]).returncode == 0


def install_wheel(url: str, sha256: str, directory: Path) -> None:
    """Makes a venv without pip at `directory` and unpacks the programs of uv's wheel into its bin.

    Raises:
      SystemExit: the wheel cannot be had, or is not the one that the lock means.
    """
    try:
        with urllib.request.urlopen(url, timeout=120) as response:
            wheel = response.read()
    except OSError as error:
        raise SystemExit(
            f"Could not fetch uv ({error}). Run 'apt-get install python3-venv ca-certificates', "
            "then the same command again."
        ) from None
    if hashlib.sha256(wheel).hexdigest() != sha256:
        raise SystemExit(f"{url} is not the file that uv.lock pins (its SHA-256 differs): nothing installed")
    venv.create(directory, clear=True, with_pip=False)
    with zipfile.ZipFile(io.BytesIO(wheel)) as archive:
        for name in archive.namelist():
            if re.fullmatch(r"uv-[^/]+\.data/scripts/uvx?", name):
                program = directory / "bin" / os.path.basename(name)
                program.write_bytes(archive.read(name))
                program.chmod(0o755)


def main() -> None:
    """Installs uv into the directory that the first argument names."""
    directory = Path(sys.argv[1])
    version, url, sha256 = locked_uv(LOCK.read_text(), platform.machine())
    if not install_with_pip(version, directory):
        install_wheel(url, sha256, directory)


if __name__ == "__main__":
    main()
