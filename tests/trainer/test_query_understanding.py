"""Learning and look-up against plain Python that counts clicks term by term."""

import itertools
from collections import Counter, defaultdict

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from schema import features, transformed
from trainer.config import QueryUnderstandingConfig
from trainer.item_table import ItemTable
from trainer.models import InputSizes
from trainer.query_evidence import learn
from trainer.query_understanding import FIELDS, QueryUnderstanding, agreed, fingerprints, understand

UNITS, WIDTH = 6, 4
# Bigram `a, b` of known units has id a * 10 + b here, so that a pair can be read off its id.
PAIRS = 70
SIZES = InputSizes(
    unigrams=UNITS + transformed.UNIGRAMS.oov_buckets,
    bigrams=PAIRS + transformed.BIGRAMS.oov_buckets,
    phrases=1,
    items=9,
    brand=4,
    leaf_category=6,
    top_category=3,
    shop=2,
    profile={},
)
OTHER_WORD = UNITS + 5
HEAD, TAIL = 68, 69


def pair_id(a: int, b: int) -> int:
    return a * 10 + b if max(a, b) <= UNITS else PAIRS + 3


def bigrams_of(units: list[int]) -> list[int]:
    return [HEAD, *(pair_id(a, b) for a, b in itertools.pairwise(units)), TAIL] if units else []


def padded(rows: list[list[int]], width: int) -> np.ndarray:
    matrix = np.zeros((len(rows), width), np.int32)
    for row, values in zip(matrix, rows, strict=True):
        row[: len(values[:width])] = values[:width]
    return matrix


def chunk(requests: list[tuple[list[int], list[int]]], width: int = WIDTH) -> dict[str, tf.Tensor]:
    return {
        transformed.QUERY_UNIGRAMS: tf.constant(padded([units for units, _ in requests], width)),
        transformed.QUERY_BIGRAMS: tf.constant(padded([bigrams_of(units) for units, _ in requests], width + 1)),
        features.ITEMS: tf.constant(padded([items for _, items in requests], 3)),
    }


def shop(items: list[dict]) -> ItemTable:
    """Items of brand, leaf, top, title and names; the unknown item's row is added."""
    items = [*items, {"brand": 0, "leaf": 0, "top": 0, "title": [], "names": []}]
    return ItemTable(
        np.array([f"i{n}".encode() for n in range(len(items) - 1)]),
        {
            features.BRAND: np.array([item["brand"] for item in items], np.int32),
            features.LEAF_CATEGORY: np.array([item["leaf"] for item in items], np.int32),
            features.TOP_CATEGORY: np.array([item["top"] for item in items], np.int32),
            transformed.TITLE_UNIGRAMS: padded([item["title"] for item in items], 5),
            transformed.TITLE_BIGRAMS: padded([bigrams_of(item["title"]) for item in items], 6),
            transformed.ATTRIBUTE_UNIGRAMS: padded([item["names"] for item in items], 3),
        },
    )


def tensors(understanding: QueryUnderstanding) -> dict[str, tf.Tensor]:
    return {name: tf.constant(array) for name, array in understanding.arrays().items()}


def understood(understanding: QueryUnderstanding, queries: list[list[int]], width: int = WIDTH) -> list[dict]:
    batch = chunk([(units, []) for units in queries], width)
    found = understand(tensors(understanding), batch[transformed.QUERY_UNIGRAMS], batch[transformed.QUERY_BIGRAMS])
    return [
        {name: set(values.numpy()[row].tolist()) - {0} for name, values in found.items()} for row in range(len(queries))
    ]


class Oracle:
    """The rules, one term at a time."""

    def __init__(self, requests, table: ItemTable, config: QueryUnderstandingConfig):
        self.columns = {name: table.columns[name] for name in FIELDS}
        self.clicks: dict[tuple, Counter] = defaultdict(Counter)
        for units, items in requests:
            units = units[:WIDTH]
            for term in {*self.parts(units), *self.whole(units)}:
                for item in items:
                    if item <= table.size:
                        self.clicks[term][item] += 1
        bearers: dict[tuple, list[int]] = defaultdict(list)
        names: set[tuple] = set()
        for row in range(table.size):
            words = [int(u) for u in table.columns[transformed.TITLE_UNIGRAMS][row] if u]
            own = {int(u) for u in table.columns[transformed.ATTRIBUTE_UNIGRAMS][row] if u}
            naming = {t for t in self.parts(words) if len(t) == 2 and set(t) <= own} | {(u,) for u in own if u <= UNITS}
            names |= naming
            for term in naming | {(u,) for u in words if u <= UNITS}:
                bearers[term].append(row + 1)
        for term in names if config.catalog_support else ():
            for item in bearers[term]:
                count = len(bearers[term])
                self.clicks[term][item] += min(count, config.catalog_support) / count
        self.verdicts = {
            term: {name: self.verdict(clicks, name, table, config) for name in FIELDS}
            for term, clicks in self.clicks.items()
            if sum(clicks.values()) >= config.min_support - 1e-6
        }

    @staticmethod
    def parts(units: list[int]) -> list[tuple]:
        pairs = [(a, b) for a, b in itertools.pairwise(units) if max(a, b) <= UNITS]
        return [*((u,) for u in units if u <= UNITS), *pairs]

    @staticmethod
    def whole(units: list[int]) -> list[tuple]:
        return [("whole", *units)] if units and max(units) <= UNITS else []

    def verdict(self, clicks: Counter, name: str, table: ItemTable, config: QueryUnderstandingConfig) -> set[int]:
        column = self.columns[name]
        total = sum(clicks.values())
        mass: Counter = Counter()
        for item, weight in clicks.items():
            mass[int(column[item - 1])] += weight
        lost = sum(min(0.5, m) for m in mass.values())
        found: list[int] = []
        covered = 0.0
        for value, m in sorted(mass.items(), key=lambda pair: (-round(pair[1], 9), pair[0])):
            if covered >= config.coverage - 1e-6:
                break
            share = float(np.mean(column[:-1] == value))
            covered += (m - min(0.5, m) + lost * share) / total
            found.append(value)
        good = covered >= config.coverage - 1e-6 and len(found) <= config.max_values and 0 not in found
        good &= not set(column[:-1].tolist()) <= set(found)
        return set(found) if good else set()

    def understand(self, units: list[int]) -> dict[str, set[int]]:
        units = units[:WIDTH]
        speaking = [self.verdicts[term] for term in self.whole(units) if term in self.verdicts]
        if not speaking:
            hidden = set()
            for place, pair in enumerate(itertools.pairwise(units)):
                if pair in self.verdicts:
                    speaking.append(self.verdicts[pair])
                    hidden |= {place, place + 1}
            for place, unit in enumerate(units):
                if place not in hidden and (unit,) in self.verdicts:
                    speaking.append(self.verdicts[unit,])
        answer = {}
        for name in FIELDS:
            sets = [verdict[name] for verdict in speaking if verdict[name]]
            common = set.intersection(*sets) if sets else set()
            answer[name] = common or set().union(*sets)
        return answer


unit = st.sampled_from([*range(1, UNITS + 1), OTHER_WORD])
item_rows = st.fixed_dictionaries(
    {
        "brand": st.integers(0, 3),
        "leaf": st.integers(1, 5),
        "top": st.integers(1, 2),
        "title": st.lists(unit, max_size=5),
        "names": st.lists(unit, max_size=3),
    }
)


@st.composite
def click_logs(draw):
    items = draw(st.lists(item_rows, min_size=1, max_size=8))
    clicked = st.lists(st.integers(1, len(items) + 1), min_size=1, max_size=3)
    kinds = draw(st.lists(st.tuples(st.lists(unit, max_size=5), clicked), min_size=1, max_size=6))
    times = draw(st.lists(st.integers(1, 12), min_size=len(kinds), max_size=len(kinds)))
    return shop(items), [kind for kind, count in zip(kinds, times, strict=True) for _ in range(count)]


@given(
    click_logs(),
    st.builds(
        QueryUnderstandingConfig,
        min_support=st.sampled_from([1.0, 3.0, 10.0]),
        coverage=st.sampled_from([0.6, 0.8, 0.95]),
        max_values=st.integers(1, 3),
        catalog_support=st.sampled_from([0.0, 2.5, 10.0]),
    ),
    st.lists(st.lists(unit, max_size=5), min_size=1, max_size=6),
)
@settings(deadline=None, max_examples=60)
def test_learning_and_look_up_equal_plain_counting(log, config, unseen):
    table, requests = log
    understanding = learn([chunk(requests)], table, SIZES, config)
    queries = [*{tuple(units): None for units, _ in requests}, *map(tuple, unseen)]
    oracle = Oracle(requests, table, config)
    assert understood(understanding, [list(q) for q in queries]) == [oracle.understand(list(q)) for q in queries]


NIKE, ADIDAS, CHEAP, SHOE, HAT, GIFT = range(1, UNITS + 1)
CLICKS_ONLY = QueryUnderstandingConfig(catalog_support=0, max_values=2)


def item(brand: int, leaf: int, title: list[int], names: list[int] | None = None) -> dict:
    return {"brand": brand, "leaf": leaf, "top": 1 + leaf // 3, "title": title, "names": names or []}


# Brands 1 and 2; shoes are leaf 1, hats leaf 2, and leaf 4 is of another branch.
SHOP = shop(
    [
        item(1, 1, [NIKE, SHOE]),
        item(2, 1, [ADIDAS, SHOE]),
        item(1, 2, [NIKE, HAT]),
        item(2, 2, [ADIDAS, HAT]),
        item(3, 4, [GIFT]),
        item(0, 1, [SHOE]),
    ]
)
LOG = [
    *([([NIKE, SHOE], [1])] * 15),
    *([([ADIDAS, SHOE], [2])] * 15),
    *([([SHOE], [1]), ([SHOE], [2])] * 15),
    *([([NIKE], [1]), ([NIKE], [3])] * 10),
    *([([HAT], [3]), ([HAT], [4])] * 10),
    *([([GIFT], [n]) for n in (1, 2, 3, 4, 5)] * 5),
]
NOTHING: dict[str, set[int]] = {name: set() for name in FIELDS}


@pytest.fixture(scope="module")
def learned() -> QueryUnderstanding:
    return learn([chunk(LOG[:40]), chunk(LOG[40:])], SHOP, SIZES, CLICKS_ONLY)


def test_brand_and_category_are_understood_from_clicks(learned):
    nike_shoe, cheap_nike, shoe, nike_hat = understood(learned, [[NIKE, SHOE], [CHEAP, NIKE], [SHOE], [NIKE, HAT]])
    assert (nike_shoe[features.BRAND], nike_shoe[features.LEAF_CATEGORY]) == ({1}, {1})
    assert (cheap_nike[features.BRAND], cheap_nike[features.LEAF_CATEGORY]) == ({1}, {1, 2})
    assert (shoe[features.BRAND], shoe[features.LEAF_CATEGORY]) == ({1, 2}, {1})
    # No one ever searched for it: its two words agree on brand 1 and on hats.
    assert (nike_hat[features.BRAND], nike_hat[features.LEAF_CATEGORY]) == ({1}, {2})


def test_two_brands_in_one_query_allow_both(learned):
    assert understood(learned, [[NIKE, CHEAP, ADIDAS]])[0][features.BRAND] == {1, 2}


@pytest.mark.parametrize("query", [[GIFT], [OTHER_WORD], [CHEAP], []])
def test_a_query_that_names_nothing_leaves_everything(learned, query):
    assert understood(learned, [query]) == [NOTHING]


def test_a_hash_bucket_is_never_evidence(learned):
    """Words that share a bucket have nothing else in common."""
    with_bucket = learn([chunk([*LOG, *([([OTHER_WORD], [1])] * 50)])], SHOP, SIZES, CLICKS_ONLY)
    assert understood(with_bucket, [[OTHER_WORD]]) == [NOTHING]


def test_ten_clicks_on_as_many_brands_are_no_evidence_for_those():
    many = shop([item(n, 1 + n % 5, []) for n in range(1, 41)])
    log = [([GIFT], [n]) for n in range(1, 11)]
    config = QueryUnderstandingConfig(catalog_support=0, max_values=12, coverage=0.9)
    assert understood(learn([chunk(log)], many, SIZES, config), [[GIFT]])[0][features.BRAND] == set()
    ten_times = learn([chunk(log * 10)], many, SIZES, config)
    assert understood(ten_times, [[GIFT]])[0][features.BRAND] == set(range(1, 11))


def test_a_pair_that_means_something_else_overrules_its_words():
    """Apple juice is of no phone maker, though all that "apple" alone leads to is."""
    apple, juice = NIKE, HAT
    items = shop([item(1, 1, []), item(2, 2, []), item(3, 2, [])])
    log = [*([([apple], [1])] * 60), *([([apple, juice], [2])] * 12), *([([CHEAP, apple, juice], [3])] * 12)]
    config = QueryUnderstandingConfig(catalog_support=0, coverage=0.6)
    understanding = learn([chunk(log)], items, SIZES, config)
    alone, drink, long = understood(understanding, [[apple], [apple, juice], [GIFT, apple, juice]])
    assert alone[features.BRAND] == {1}
    assert drink[features.BRAND] == {2}
    assert long[features.BRAND] == {2, 3}


def test_a_brand_without_clicks_is_known_from_the_catalog():
    items = shop([*(item(1, 1, [SHOE], names=[NIKE, SHOE]) for _ in range(12)), item(2, 1, [SHOE]), item(2, 2, [])])
    by_name = learn([chunk([([GIFT], [13])])], items, SIZES, QueryUnderstandingConfig())
    assert understood(by_name, [[NIKE]])[0][features.BRAND] == {1}
    by_clicks = learn([chunk([([GIFT], [13])])], items, SIZES, CLICKS_ONLY)
    assert understood(by_clicks, [[NIKE]]) == [NOTHING]


def test_who_takes_items_that_lack_a_brand_names_none():
    table = shop([item(0, 1, []), item(1, 1, []), item(2, 2, [])])
    understanding = learn([chunk([([CHEAP], [1])] * 40)], table, SIZES, CLICKS_ONLY)
    found = understood(understanding, [[CHEAP]])[0]
    assert (found[features.BRAND], found[features.LEAF_CATEGORY]) == (set(), {1})


def test_padding_changes_nothing(learned):
    queries = [[NIKE, SHOE], [CHEAP, NIKE, HAT], [OTHER_WORD, SHOE], []]
    alone = [understood(learned, [query], width=max(len(query), 1))[0] for query in queries]
    assert understood(learned, queries, width=12) == alone


def test_longer_chunks_and_other_orders_learn_the_same(learned):
    other = learn([chunk(LOG[::-1])], SHOP, SIZES, CLICKS_ONLY)
    for name, array in learned.arrays().items():
        np.testing.assert_array_equal(array, other.arrays()[name])


def test_what_is_saved_is_loaded(learned, tmp_path):
    learned.save(str(tmp_path / "understanding.npz"))
    loaded = QueryUnderstanding.load(str(tmp_path / "understanding.npz"))
    assert loaded.arrays().keys() == learned.arrays().keys()
    for name, array in loaded.arrays().items():
        np.testing.assert_array_equal(array, learned.arrays()[name])
    assert loaded.terms()[features.BRAND] > 0


def test_queries_that_lead_nowhere_are_understood_as_nothing():
    understanding = learn([chunk([([], [1]), ([OTHER_WORD], [7])])], SHOP, SIZES, CLICKS_ONLY)
    assert understood(understanding, [[NIKE, SHOE], []]) == [NOTHING, NOTHING]


def test_verdicts_that_agree_meet_and_others_unite():
    verdicts = tf.constant([[[1, 2], [2, 3], [0, 0]], [[1, 2], [3, 0], [0, 0]], [[0, 0], [0, 0], [0, 0]]])
    sets = [set(row.tolist()) - {0} for row in agreed(verdicts).numpy()]
    assert sets == [{2}, {1, 2, 3}, set()]


def test_fingerprints_tell_orders_apart_without_hash_buckets():
    units = tf.constant([[1, 2, 0], [2, 1, 0], [12, 0, 0], [1, 2, 0], [1, OTHER_WORD, 0], [0, 0, 0]])
    keys = fingerprints(units, known=20).numpy().tolist()
    assert keys[0] == keys[3]
    assert len(set(keys)) == 5
    assert fingerprints(units, known=UNITS).numpy()[4:].tolist() == [-1, -1]
