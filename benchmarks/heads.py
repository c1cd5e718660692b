"""What a second query vector could earn on ambiguous queries: oracles in the item space of a trained model.

    make bench-heads    or    python -m benchmarks.heads [--folder runs/bench-heads] [--heads 1]

Simulates the demo shop, runs the pipeline (unchanged steps come from cache), and takes the evaluation day's requests
whose query is ambiguous: its clicks in training went to several leaf categories, its meanings. A request's vector is
moved towards the mean of the items that were clicked for its query in training: of all of them, which one vector can
do; of those of each meaning, a vector for each, which is what good heads would do; and of the meaning that the request
had, which its clicks tell and no model can know. All search the whole catalog for 100 items, several vectors as heads
do: an item counts by its best one. The logs are simulated.
"""

import argparse
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from benchmarks.demo_shop import EXAMPLES, SERVABLE, run_demo
from components.recall_gate.config import GateConfig
from evaluation.bootstrap import QueryBootstrap
from evaluation.eval_set import normalize_query, read_catalog, read_requests
from evaluation.exact_search import exact_search
from evaluation.metrics import FloatArray, first_ranks, recall_at
from evaluation.servable import LoadedServable
from evaluation.training_counts import ClickedQueries, read_training
from pipeline.bench.ambiguity import SECOND_MEANING, ambiguous_queries
from schema import features
from schema.features import Stage

K = 100
# How far a vector of unit length is moved.
STEPS = (0.1, 0.3, 0.6)

Vectors = NDArray[np.float32]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--folder", type=Path, default=Path("runs/bench-heads"))
    parser.add_argument("--heads", type=int, default=1, help="of the model that is trained")
    parser.add_argument("--parts", nargs=2, metavar="DIR", help="examples and servable of a run that is there")
    arguments = parser.parse_args()
    examples, servable_dir = arguments.parts or run(arguments.folder, arguments.heads)
    gate, catalog = GateConfig(), read_catalog(examples)
    gains = {int(Stage.CLICKED): gate.clicked_gain, int(Stage.ORDERED): gate.ordered_gain}
    requests = read_requests(examples, catalog, gate.max_eval_requests, gate.seed, gains)
    clicks = clicks_of(read_training(examples, catalog).clicked)
    leaf_of = [features.CATEGORY_SEPARATOR.join(path) for path in catalog.category_paths]
    ambiguous = ambiguous_queries({query: leaves(of_query, leaf_of) for query, of_query in clicks.items()})
    asked = [normalize_query(query) for query in requests.queries]

    relevant, servable = requests.relevant, LoadedServable(servable_dir)
    items = servable.encode_items(catalog.examples)
    vectors = servable.encode_query(requests.examples)
    # The request's own clicks, where they are of the catalog.
    own = [relevant.rows[(relevant.request == n) & (relevant.rows < len(catalog))] for n in range(len(requests))]
    chosen = [n for n, query in enumerate(asked) if query in ambiguous and len(own[n])]

    def recall(queries: Sequence[Vectors]) -> FloatArray:
        found = np.full((len(requests), K), -1, np.int64)
        for n, query in zip(chosen, queries, strict=True):
            found[n] = exact_search(query[np.newaxis], items, K)[0]
        return recall_at(first_ranks(found, relevant), relevant, K)[chosen]

    measured = {"the model": recall([vectors[n] for n in chosen])}
    for step in STEPS:
        every, each, known = [], [], []
        for n in chosen:
            query, of_query = unit(vectors[n].mean(axis=0)), clicks[asked[n]]
            counts = leaves(of_query, leaf_of)
            meanings = [leaf for leaf, count in counts.items() if count >= SECOND_MEANING * counts.total()]
            meant = Counter(leaf_of[row] for row in own[n]).most_common(1)[0][0]
            of_leaf = {leaf: only(of_query, leaf, leaf_of) for leaf in (*meanings, meant)}
            every.append(unit(query + step * center(of_query, items))[np.newaxis])
            each.append(np.stack([unit(query + step * center(of_leaf[leaf], items)) for leaf in meanings]))
            known.append(unit(query + step * center(of_leaf[meant] or of_query, items))[np.newaxis])
        measured |= {
            f"moved by {step}: to all clicks of the query, one vector": recall(every),
            f"moved by {step}: to those of each meaning, a vector each": recall(each),
            f"moved by {step}: to those of the meaning that it had": recall(known),
        }
    model = f"{servable.card['model']}, {vectors.shape[1]} head(s), {vectors.shape[2]} numbers"
    print_table(measured, QueryBootstrap([asked[n] for n in chosen]), model)


def run(folder: Path, heads: int) -> tuple[str, str]:
    """Where the pipeline, run on the benchmark's logs, left its examples and its servable."""
    examples, servable = run_demo(folder, [f"train.heads={heads}"], [EXAMPLES, SERVABLE])
    return str(examples), str(servable / "Format-Serving")


def clicks_of(pairs: ClickedQueries) -> dict[str, Counter[int]]:
    """By query and catalog row, clicks, carts and orders."""
    found: dict[str, Counter[int]] = {query: Counter() for query in pairs.queries}
    for query, row, count in zip(pairs.query.tolist(), pairs.rows.tolist(), pairs.clicks.tolist(), strict=True):
        found[pairs.queries[query]][row] += count
    return found


def leaves(clicks: Counter[int], leaf_of: Sequence[str]) -> Counter[str]:
    """Clicks by leaf category, of which there is one for each catalog row."""
    found: Counter[str] = Counter()
    for row, count in clicks.items():
        found[leaf_of[row]] += count
    return found


def only(clicks: Counter[int], leaf: str, leaf_of: Sequence[str]) -> Counter[int]:
    """Those of one leaf category."""
    return Counter({row: count for row, count in clicks.items() if leaf_of[row] == leaf})


def center(clicks: Counter[int], items: Vectors) -> Vectors:
    """Mean direction of the clicked items, of unit length."""
    return unit(np.array(list(clicks.values()), np.float32) @ items[list(clicks)])


def unit(vector: Vectors) -> Vectors:
    """Scaled to unit length."""
    return vector / max(float(np.linalg.norm(vector)), 1e-9)


def print_table(measured: dict[str, FloatArray], bootstrap: QueryBootstrap, about: str) -> None:
    """Prints recall@k of each and how it differs from the model's."""
    model = measured["the model"]
    table = Table(title=f"{len(model)} requests of ambiguous queries, simulated demo shop; {about}")
    for column in ("query vectors", f"recall@{K}", "against the model, 95 %"):
        table.add_column(column, justify="left" if column == "query vectors" else "right")
    for name, recall in measured.items():
        apart = bootstrap.difference(recall, model)
        assert apart is not None
        change = f"{apart.value:+.3f} [{apart.low:+.3f}, {apart.high:+.3f}]" if name != "the model" else ""
        table.add_row(name, f"{recall.mean():.3f}", change)
    Console(width=130).print(table)


if __name__ == "__main__":
    main()
