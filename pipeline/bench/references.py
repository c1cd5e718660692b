"""What needs no training: popularity, BM25, the shop's own pages and, of a simulated shop, its engine and its truth."""

from pathlib import Path

import numpy as np

from evaluation import baselines
from evaluation.metrics import NOT_AN_ITEM, IntArray
from marketplace.engine import LexicalEngine
from pipeline.bench.analysis import SystemAnswer
from pipeline.bench.data import EvalDay, shop_file
from pipeline.bench.variants import (
    BM25,
    ENGINE,
    ORACLE_QUERY,
    ORACLE_RELEVANCE,
    ORACLE_TASTE,
    ORACLE_UTILITY,
    POPULARITY,
    SHOWN,
    TUTORIAL,
)

LABELS = {
    TUTORIAL: ("TFRS tutorial", "StringLookup and Embedding of query text and item id, softmax over the batch"),
    BM25: ("BM25", "lexical search over title, brand and category"),
    POPULARITY: ("popularity", "the items most clicked and ordered in training, the same for everyone"),
    ENGINE: ("shown engine", "the simulated shop's own ranking, replayed without noise"),
    SHOWN: ("(as shown)", "the page that users saw; most clicks come from it, so it is no fair contest"),
    ORACLE_RELEVANCE: ("oracle: relevance", "how well items meet what the searcher had in mind, by the simulator"),
    ORACLE_QUERY: ("oracle: query + taste", "what the query can mean by the user's habits, and the lasting taste"),
    ORACLE_TASTE: ("oracle: relevance + taste", "relevance to what was in mind, and the user's lasting taste"),
    ORACLE_UTILITY: ("oracle: true utility", "relevance, lasting taste and what this session looks for"),
}


def untrained(day: EvalDay, depth: int, catalog_file: Path) -> dict[str, SystemAnswer]:
    """Answers of all references but the tutorial's model.

    Args:
      day: what is asked.
      depth: items to answer with.
      catalog_file: of the shop; with a `shop.json` beside it the shop is simulated and its engine known.
    """
    requests, items = day.requests, len(day.catalog)
    bm25 = baselines.Bm25(day.catalog.texts())
    popularity = np.append(day.training.interactions, 0).astype(np.float64)
    rows = np.where(day.stages > 0, requests.shown, items)
    by_position = np.tile(-np.arange(requests.shown.shape[1], dtype=np.float64), (len(requests), 1))
    found = {
        BM25: SystemAnswer(bm25.search(requests.queries, depth), bm25.scores(requests.queries, requests.shown)),
        POPULARITY: SystemAnswer(
            baselines.most_popular(day.training.interactions, len(requests), depth), popularity[rows]
        ),
    }
    if shop_file(catalog_file) is not None:
        found[ENGINE] = SystemAnswer(_replayed(day, depth, catalog_file), None)
    if day.oracles is not None:
        found |= {name: SystemAnswer(*ranked) for name, ranked in day.oracles.rank(requests.shown, depth).items()}
    found[SHOWN] = SystemAnswer(baselines.as_shown(requests.shown, depth), by_position)
    return found


def _replayed(day: EvalDay, depth: int, catalog_file: Path) -> IntArray:
    engine = LexicalEngine.from_catalog(catalog_file)
    # One more for the padding, which is row -1.
    row_of = np.array([*(day.catalog.rows.get(item, NOT_AN_ITEM) for item in engine.item_ids), NOT_AN_ITEM])
    found, _ = engine.top(day.requests.queries, depth)
    return row_of[found]
