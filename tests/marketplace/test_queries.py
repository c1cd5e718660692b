import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marketplace.config import QuerySettings
from marketplace.queries import build_query_pool, misspelled
from marketplace.simulation import World
from marketplace.wording import AMBIGUOUS, PLAIN, SYNONYM, Wording


def edit_distance(one: str, other: str) -> int:
    row = list(range(len(other) + 1))
    for i, left in enumerate(one, 1):
        row = next_row(row, i, left, other)
    return row[-1]


def next_row(row: list[int], i: int, left: str, other: str) -> list[int]:
    following = [i]
    for j, right in enumerate(other, 1):
        following.append(min(row[j] + 1, following[-1] + 1, row[j - 1] + (left != right)))
    return following


@settings(deadline=None, max_examples=60)
@given(st.text("abcdefghij xyz跑步鞋红色", min_size=4, max_size=20).map(str.strip), st.integers(0, 1000))
def test_a_misspelling_is_one_slip_away(text: str, seed: int) -> None:
    wrong = misspelled(text, random.Random(seed))
    # Two letters swapped are two edits; a letter dropped at the end may take a space with it.
    assert edit_distance(text, wrong) <= 2


def test_misspellings_are_typed_at_their_share(world: World) -> None:
    rng = np.random.default_rng(0)
    intent = rng.choice(world.intents.count, 5_000, p=world.intents.weight)
    queries = world.pool.draw(intent, 0.1, rng)
    wrong = queries % (world.pool.spellings + 1) > 0
    assert wrong.mean() == pytest.approx(0.1, abs=0.02)
    right = [world.pool.text(query - query % (world.pool.spellings + 1)) for query in queries[wrong]]
    typed = [world.pool.text(query) for query in queries[wrong]]
    assert np.mean([one != other for one, other in zip(right, typed, strict=True)]) > 0.97


def test_a_query_number_always_reads_the_same(world: World) -> None:
    assert [world.pool.text(query) for query in range(400)] == [world.pool.text(query) for query in range(400)]


def test_synonyms_share_their_part_of_a_need() -> None:
    wordings = [Wording("sofa", 1, PLAIN), Wording("couch", 3, SYNONYM), Wording("settee", 1, SYNONYM)]
    pool = build_query_pool([wordings], QuerySettings(synonym_share=0.4), 0)
    drawn = pool.draw(np.zeros(40_000, int), 0.0, np.random.default_rng(0)) // (pool.spellings + 1)
    shares = np.bincount(drawn, minlength=3) / len(drawn)
    assert dict(zip(pool.texts, shares, strict=True)) == pytest.approx(
        {"sofa": 0.6, "couch": 0.3, "settee": 0.1}, abs=0.01
    )


def test_a_word_of_several_leaves_is_one_query(world: World) -> None:
    pool, intents = world.pool, world.intents
    apple = pool.texts.index("apple")
    wordings = np.flatnonzero(pool.wording_text == apple)
    meant = np.searchsorted(pool.intent_start, wordings, side="right") - 1
    tops = {world.catalog.paths[leaf][0] for leaf in intents.leaf[meant]}
    assert {"Grocery", "Electronics"} <= tops
    assert set(pool.wording_kind[wordings]) == {AMBIGUOUS}


def test_every_kind_of_wording_is_there(world: World) -> None:
    kinds, counts = np.unique(world.pool.wording_kind, return_counts=True)
    assert set(kinds) == {PLAIN, SYNONYM, AMBIGUOUS}
    assert counts.min() > 100
