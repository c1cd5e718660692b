"""What a process holds in memory, as Linux tells it."""

from pathlib import Path


def resident_mib(pid: int | str = "self") -> float:
    """What it holds now."""
    return _mib(pid, "VmRSS:")


def peak_mib(pid: int | str = "self") -> float:
    """The most that it has held; unlike getrusage's figure, not taken over from the process that started it."""
    return _mib(pid, "VmHWM:")


def _mib(pid: int | str, field: str) -> float:
    return int(Path(f"/proc/{pid}/status").read_text().partition(field)[2].split()[0]) / 1024
