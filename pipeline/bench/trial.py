"""One training of one system and what it answered, kept on disk so that a bench can go on where it stopped."""

import hashlib
import json
import os
import re
import shutil
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from evaluation.metrics import FloatArray, IntArray

_FACTS = "trial.json"
_ARRAYS = "answers.npz"


@dataclass(frozen=True)
class Trial:
    """A finished training with the answers of what came out of it.

    Attributes:
      system: name of the variant or reference.
      seed: of the training.
      fingerprint: of settings and data.
      code: of the source that trained it.
      settings: what it was trained with.
      history: by metric, a value per epoch.
      examples_per_second: training requests per second, median of all epochs but the first, which also traces.
      latency_ms: of single requests, each in process: median and 95th percentile.
      seconds: what the whole trial took.
      rows: [requests, k] catalog rows that it answered, padded with -1.
      page_scores: [requests, page] its score of each item of the page that the shop showed.
    """

    system: str
    seed: int
    fingerprint: str
    code: str
    settings: Mapping[str, Any]
    history: Mapping[str, list[float]]
    examples_per_second: float
    latency_ms: tuple[float, float]
    seconds: float
    rows: IntArray
    page_scores: FloatArray


def folder_of(root: Path, system: str, seed: int, fingerprint: str) -> Path:
    """Where the trial lies."""
    name = re.sub(r"[^a-z0-9]+", "-", system.lower()).strip("-")
    return root / f"{name}-seed{seed}-{fingerprint[:12]}"


def fingerprint_of(*parts: Any) -> str:
    """Hexadecimal text that changes with any of the parts, which are plain values."""
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def code_fingerprint(packages: Iterable[Path]) -> str:
    """Hexadecimal text that changes with any line of Python below the folders (or in the files) `packages`."""
    digest = hashlib.blake2b(digest_size=8)
    for package in packages:
        for file in sorted(package.rglob("*.py")) if package.is_dir() else [package]:
            digest.update(file.name.encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()


def save(trial: Trial, folder: Path) -> None:
    """Writes the trial; it is there as a whole or not at all, wherever the process is killed."""
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    np.savez_compressed(partial / _ARRAYS, rows=trial.rows.astype(np.int32), page_scores=trial.page_scores)
    facts = {field.name: getattr(trial, field.name) for field in fields(trial)}
    (partial / _FACTS).write_text(json.dumps({n: v for n, v in facts.items() if n not in ("rows", "page_scores")}))
    shutil.rmtree(folder, ignore_errors=True)
    os.rename(partial, folder)


def load(folder: Path) -> Trial | None:
    """The trial in `folder`; None where there is none that can be read."""
    try:
        facts = json.loads((folder / _FACTS).read_text())
        with np.load(folder / _ARRAYS) as arrays:
            rows, page_scores = arrays["rows"].astype(np.int64), arrays["page_scores"]
        return Trial(**{**facts, "latency_ms": tuple(facts["latency_ms"])}, rows=rows, page_scores=page_scores)
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile):
        return None
