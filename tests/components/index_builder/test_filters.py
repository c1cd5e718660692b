"""Filters against a plain loop over the catalog, and in a served model."""

from dataclasses import dataclass, field

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from components.index_builder.attributes import ItemAttributes, invert
from components.index_builder.filters import Conditions, ItemFilters, filter_spec
from components.index_builder.search_index import ExactIndex, ScannIndex
from tests.components.index_builder.test_relevance import ask
from tests.small_shop import ALL_CATALOG, serialize

BRANDS = (b"", b"Acme Co", "红星".encode(), b"two\nlines")
PATHS = (b"", b"Home", b"Home > Kitchen", b"Home > Kitchen > Kettles", b"Garden > Kitchen", b"Homes")
PRICES = (np.nan, 0.0, 1.5, 20.0, 20.000002)
COLORS = (b"red", b"blue", b"light\nblue")
COLUMNS = ("categorical_color", "numeric_rating", "text_story")


@dataclass(frozen=True)
class Wanted:
    """The filters of one request."""

    brands: tuple[bytes, ...] = ()
    categories: tuple[bytes, ...] = ()
    least: float | None = None
    most: float | None = None
    excluded: tuple[int, ...] = ()
    colors: tuple[bytes, ...] = ()
    least_rating: float | None = None

    def example(self) -> bytes:
        prices = {
            "filter_min_price": self.least,
            "filter_max_price": self.most,
            "filter_min_numeric_rating": self.least_rating,
        }
        return serialize(
            {
                "filter_brand": list(self.brands),
                "filter_category": list(self.categories),
                "filter_categorical_color": list(self.colors),
                **{name: [float(price)] for name, price in prices.items() if price is not None},
            }
        )

    def met_by(self, place: int, attributes: ItemAttributes) -> bool:
        price = attributes.prices[place]
        path = bytes(attributes.category_paths[place])
        return (
            place not in self.excluded
            and (not self.brands or bytes(attributes.brands[place]) in [b for b in self.brands if b])
            and (not self.categories or any(path == c or path.startswith(c + b" > ") for c in self.categories if c))
            and (self.least is None or price >= np.float32(self.least))
            and (self.most is None or price <= np.float32(self.most))
            and (
                not self.colors
                or not {*attributes.categorical["categorical_color"][place].split(b"\x1e")}.isdisjoint(self.colors)
            )
            and (
                self.least_rating is None
                or attributes.numeric["numeric_rating"][place] >= np.float32(self.least_rating)
            )
        )


def attributes_of(rows) -> ItemAttributes:
    brands, paths, prices, colors, ratings = zip(*rows, strict=True)
    return ItemAttributes(
        np.array(brands, "S"),
        np.array(paths, "S"),
        np.array(prices, np.float32),
        {"categorical_color": np.array([b"\x1e".join(some) for some in colors], "S")},
        {"numeric_rating": np.array(ratings, np.float32)},
    )


ROWS = st.tuples(
    st.sampled_from(BRANDS),
    st.sampled_from(PATHS),
    st.sampled_from(PRICES),
    st.lists(st.sampled_from(COLORS), unique=True),
    st.sampled_from(PRICES),
)


@st.composite
def shops(draw):
    attributes = attributes_of(draw(st.lists(ROWS, min_size=1, max_size=12)))
    items = len(attributes.prices)
    price = st.none() | st.sampled_from(PRICES[1:])
    request = st.builds(
        Wanted,
        brands=st.lists(st.sampled_from((*BRANDS[1:], b"nobody's")), max_size=2).map(tuple),
        categories=st.lists(st.sampled_from((*PATHS[1:], b"Kitchen")), max_size=2).map(tuple),
        least=price,
        most=price,
        excluded=st.lists(st.integers(0, items - 1), max_size=3).map(tuple),
        colors=st.lists(st.sampled_from((*COLORS, b"no color")), max_size=2).map(tuple),
        least_rating=price,
    )
    return attributes, draw(st.lists(st.just(Wanted()) | request, max_size=4)), draw(st.integers(1, items))


def conditions_of(filters: ItemFilters, wanted: list[Wanted]) -> Conditions:
    raw = tf.io.parse_example(tf.constant([w.example() for w in wanted], tf.string), filter_spec(COLUMNS))
    excluded = tf.ragged.constant(
        [list(w.excluded) for w in wanted], tf.int32, ragged_rank=1, row_splits_dtype=tf.int64
    )
    return filters.conditions(raw, excluded)


def found(filters: ItemFilters, vectors: np.ndarray, wanted: list[Wanted], k: int):
    positions, scores = filters.search(tf.constant(vectors), conditions_of(filters, wanted), k)
    return positions.numpy(), scores.numpy()


@given(shops(), st.integers(1, 2), st.sampled_from((0, 2, 100)), st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=30)
def test_answers_equal_a_loop_however_many_items_are_left(tmp_path_factory, shop, heads, limit, seed):
    attributes, wanted, k = shop
    rng = np.random.default_rng(seed)
    items = rng.normal(size=(len(attributes.prices), 4)).astype(np.float32)
    queries = rng.normal(size=(len(wanted), heads, 4)).astype(np.float32)
    filters = ItemFilters(ExactIndex(items), attributes, limit, str(tmp_path_factory.mktemp("values")))
    positions, scores = found(filters, queries, wanted, k)
    assert positions.shape == scores.shape == (len(wanted), k)
    for row, request in enumerate(wanted):
        best = (queries[row] @ items.T).max(axis=0)
        expected = [place for place in np.argsort(-best) if request.met_by(place, attributes)][:k]
        missing = k - len(expected)
        assert positions[row].tolist() == expected + [-1] * missing
        np.testing.assert_allclose(scores[row], [*best[expected], *[-np.inf] * missing], rtol=1e-5, atol=1e-6)


@given(st.lists(ROWS, min_size=1, max_size=12))
def test_inverted_lists_hold_what_a_loop_finds(rows):
    attributes = attributes_of(rows)
    postings = invert(attributes)
    lists = {
        bytes(key): postings.items[postings.starts[place] : postings.starts[place + 1]].tolist()
        for place, key in enumerate(postings.keys)
    }
    expected: dict[bytes, list[int]] = {}
    for place, (brand, path, _, colors, _) in enumerate(rows):
        names = path.split(b" > ") if path else []
        nodes = [b"category_path\x1f" + b" > ".join(names[: depth + 1]) for depth in range(len(names))]
        of_colors = [b"categorical_color\x1f" + color for color in colors]
        for key in [b"brand\x1f" + brand] * bool(brand) + nodes + of_colors:
            expected.setdefault(key.replace(b"\n", b" "), []).append(place)
    assert lists == expected
    assert postings.starts[-1] == postings.starts[-2] == len(postings.items)
    for place, values in enumerate(postings.values_of_item):
        assert {bytes(postings.keys[v]) for v in values if v >= 0} == {k for k, held in lists.items() if place in held}


@pytest.fixture(scope="module")
def quantized():
    """A thousand clustered vectors, quantized; brand `n` has every item whose place is a multiple of n."""
    rng = np.random.default_rng(5)
    centers = rng.normal(size=(20, 16))
    vectors = centers[rng.integers(0, 20, 1000)] + 0.4 * rng.normal(size=(1000, 16))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize(("every", "limit"), [(2, 0), (10, 0), (100, 0), (100, 100)])
def test_filtered_quantized_search_finds_what_exact_search_does(quantized, tmp_path, every, limit):
    brands = np.where(np.arange(1000) % every == 0, b"wanted", b"other")
    attributes = ItemAttributes(
        brands,
        np.full(1000, b"Home"),
        np.ones(1000, np.float32),
        {"categorical_color": np.full(1000, b"")},
        {"numeric_rating": np.full(1000, np.nan, np.float32)},
    )
    index = ScannIndex(quantized, {"reorder": 30}, 10)
    filters = ItemFilters(index, attributes, limit, str(tmp_path))
    queries = quantized[:64, np.newaxis]
    # In a graph, as it is served: there shapes must be known beforehand.
    graph = tf.function(lambda vectors, conditions: filters.search(vectors, conditions, 10)[0])
    conditions = conditions_of(filters, [Wanted(brands=(b"wanted",))] * 64)
    positions = graph(tf.constant(queries), conditions).numpy()
    scores = np.where(np.arange(1000) % every == 0, queries[:, 0] @ quantized.T, -np.inf)
    exact = np.argsort(-scores, axis=1)[:, :10]
    recall = np.mean([len(set(p) & set(e)) / 10 for p, e in zip(positions, exact, strict=True)])
    assert recall >= 0.95
    assert (positions % every == 0).all()


@dataclass(frozen=True)
class Case:
    """A request option, and which items of the small shop may answer it."""

    option: dict
    allowed: set[bytes] = field(default_factory=set)


def with_field(name: str, *values: bytes) -> set[bytes]:
    return {item["item_id"][0] for item in ALL_CATALOG if set(item.get(name, [])) & set(values)}


@pytest.fixture(scope="module")
def search(built):
    return built.signatures["serving_default"]


@pytest.mark.parametrize(
    "case",
    [
        Case({"filter_brand": [b"brand 1"]}, with_field("brand", b"brand 1")),
        Case({"filter_brand": [b"brand 1", b"Acme Co"]}, with_field("brand", b"brand 1", b"Acme Co")),
        Case({"filter_category": [b"Fashion"]}, with_field("top_category", b"Fashion")),
        Case({"filter_category": [b"Home > lamp"]}, with_field("leaf_category", b"Home > lamp")),
        Case(
            {"filter_category": [b"Home > lamp"], "filter_brand": [b"brand 1"]},
            with_field("leaf_category", b"Home > lamp") & with_field("brand", b"brand 1"),
        ),
        Case({"filter_max_price": [6.5]}, with_field("price", 0.0, 5.0, 6.0)),
        Case({"filter_categorical_color": [b"black", b"no color"]}, with_field("categorical_color", b"black")),
        Case({"filter_min_numeric_rating": [4.5]}, with_field("numeric_rating", 4.5)),
        Case({"filter_max_numeric_rating": [4.0]}, set()),
        Case({"filter_brand": [b"no such brand"]}, set()),
    ],
    ids=lambda case: " ".join(map(str, case.option)),
)
def test_a_served_answer_holds_just_the_items_the_filters_allow(search, case):
    (ids,), _ = ask(search, {"query": [b"red lamp"], **case.option})
    assert {item for item in ids if item} - {b"zz-twin"} == case.allowed


def test_excluded_items_are_left_out_for_their_request_alone(search):
    query = {"query": [b"red lamp"]}
    (plain,), _ = ask(search, query)
    unknown = [b"never seen", plain[0], plain[2]]
    (again, without), _ = ask(search, query, {**query, "exclude_items": unknown})
    assert again == plain
    assert [item for item in without if item] == [item for item in plain if item and item not in unknown]


def test_relevance_control_works_on_what_the_filters_leave(search):
    query = {"query": [b"red lamp"], "filter_brand": [b"brand 1"], "relevance_control": [b"on"]}
    (ids,), flags = ask(search, query)
    lamps = with_field("leaf_category", b"Home > lamp") & with_field("brand", b"brand 1")
    assert flags == ["applied"]
    assert {item for item in ids if item} == lamps
