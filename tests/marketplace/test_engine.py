import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marketplace.engine import LexicalEngine, terms
from marketplace.simulation import SimulationSummary
from schema.settings import InputError

WORDS = ["red", "blue", "shoe", "shirt", "lamp", "desk", "wool", "oak"]


def plain_ranking(titles: list[str], popularity: list[float], weight: float, query: str) -> dict[int, float]:
    """BM25 (k1 1.5, b 0.75, Lucene's idf) in plain Python, most terms first."""
    documents = [terms(title) for title in titles]
    length = sum(map(len, documents)) / len(documents)
    asked = [term for term in dict.fromkeys(terms(query)) if any(term in document for document in documents)]
    held, score = {}, {}
    for item, document in enumerate(documents):
        counts = Counter(document)
        present = [term for term in asked if counts[term]]
        if not present:
            continue
        held[item] = len(present)
        score[item] = sum(
            math.log(1 + (len(documents) - found + 0.5) / (found + 0.5))
            * counts[term]
            / (counts[term] + 1.5 * (0.25 + 0.75 * len(document) / length))
            for term in present
            for found in [sum(term in other for other in documents)]
        )
    best = max((score[item] for item in score if held[item] == max(held.values())), default=1.0)
    return {
        item: score[item] / best + weight * popularity[item] - 4.0 * (max(held.values()) - held[item]) for item in score
    }


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.lists(st.sampled_from(WORDS), min_size=1, max_size=6), min_size=2, max_size=12),
    st.lists(st.sampled_from([*WORDS, "unseen"]), min_size=1, max_size=4),
    st.integers(0, 99),
)
def test_scores_are_bm25_with_a_popularity_prior(titles: list[list[str]], query: list[str], seed: int) -> None:
    texts = [" ".join(title) for title in titles]
    popularity = np.random.default_rng(seed).normal(size=len(texts)).round(3)
    engine = LexicalEngine.build([str(i) for i in range(len(texts))], texts, [None] * len(texts), popularity, 0.1)
    expected = plain_ranking(texts, popularity.tolist(), 0.1, " ".join(query))
    items, scores = engine.top([" ".join(query)], len(texts))
    found = dict(zip(items[0][items[0] >= 0].tolist(), scores[0][items[0] >= 0].tolist(), strict=True))
    assert found == pytest.approx(expected, abs=1e-4)
    assert list(found.values()) == sorted(found.values(), reverse=True)


def test_items_with_more_of_the_terms_beat_more_popular_ones() -> None:
    engine = LexicalEngine.build(
        ["both", "one"], ["red wool coat", "red red red"], [None, None], np.array([-3.0, 3.0]), 0.1
    )
    assert engine.search("red coat", 5) == ["both", "one"]


def test_it_knows_brands_stems_and_case_not_synonyms_or_typos() -> None:
    engine = LexicalEngine.build(["a", "b"], ["Comfy Sofas for two", "跑步鞋红色"], ["Nordal", None], np.zeros(2), 0.1)
    assert engine.search("SOFA", 5) == ["a"]
    assert engine.search("nordal", 5) == ["a"]
    assert engine.search("步鞋", 5) == ["b"]
    assert engine.search("couch", 5) == []
    assert engine.search("soffa", 5) == []
    assert engine.search("", 5) == []
    assert engine.search("the of and", 5) == []


def test_a_query_of_ten_thousand_characters_is_answered() -> None:
    titles = [f"{word} thing {number}" for number, word in enumerate(WORDS * 40)]
    engine = LexicalEngine.build([str(i) for i in range(len(titles))], titles, [None] * len(titles), np.zeros(320))
    query = " ".join(WORDS * 500 + [str(number) for number in range(320)])[:10_000]
    items, scores = engine.top([query], 50)
    assert len(set(items[0].tolist())) == 50
    assert np.isfinite(scores).all()


def test_a_written_catalog_has_the_engine_of_the_simulation(
    tiny_shop: tuple[Path, SimulationSummary],
) -> None:
    from marketplace.presets import preset
    from marketplace.simulation import build_world

    world = build_world(preset("tiny"))
    replayed = LexicalEngine.from_catalog(tiny_shop[0] / "catalog.jsonl.gz", world.settings.engine.popularity_weight)
    ids = world.catalog.rows["item_id"]
    for query in ("headphones", "black running shoes", "apple", world.pool.text(41), world.pool.text(801)):
        items, scores = world.cache.engine.top([query], 1_000)
        again, rescored = replayed.top([query], 1_000)
        shown = dict(zip([ids[int(i)] for i in items[0] if i >= 0], scores[0], strict=False))
        found = dict(zip([replayed.item_ids[i] for i in again[0] if i >= 0], rescored[0], strict=False))
        assert found == pytest.approx(shown, abs=1e-3)
        assert replayed.search(query, 7) == replayed.search(query, 7)
        assert len(replayed.search(query, 7)) <= 7


@given(st.text("跑步鞋红色ab1 ", max_size=30))
def test_chinese_terms_are_the_overlapping_pairs_of_each_run(text: str) -> None:
    found = [term for term in terms(text) if term[0] >= "㐀"]
    runs = "".join(letter if letter >= "㐀" else " " for letter in text).split()
    assert found == [run[at : at + 2] for run in runs for at in range(max(1, len(run) - 1))]


def test_a_missing_or_foreign_catalog_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no catalog file"):
        LexicalEngine.from_catalog(tmp_path / "none.jsonl.gz")
    (tmp_path / "other.jsonl").write_text('{"item_id":"1","title":"x"}\n')
    with pytest.raises(InputError, match="no column brand, popularity"):
        LexicalEngine.from_catalog(tmp_path / "other.jsonl")
