"""A delta index beside the full index of the small shop, merged as the client merges them."""

import math
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from components.delta_index.build import DeltaCard, embed, read_card, write_delta
from components.delta_index.changes import Changes
from components.delta_index.config import DeltaConfig
from components.delta_index.gate import DeltaMeasurements, measure_delta
from components.index_builder.build import query_vectors
from components.index_builder.catalog import EmbeddedCatalog, rows_to_index
from components.index_builder.delta_basis import DeltaBasis
from schema import features
from schema.settings import InputError
from souk_client.answers import Row
from souk_client.examples import search_example
from souk_client.filters import ColumnFilter, Filters
from souk_client.shard_merge import merge, without
from tests.small_shop import ALL_CATALOG, serialize

# Of every third item: one with all columns, one with hardly any.
AGAIN = sorted(ALL_CATALOG[::3], key=lambda row: row["item_id"][0])
NEW = {"item_id": [b"new"], "title": [b"zirconium lamp"], "brand": [b"brand 1"], "price": [7.0]}
NOTHING = Changes((), ("a",), 50)


@dataclass(frozen=True)
class Delta:
    directory: str
    catalog: EmbeddedCatalog | None
    left_out: frozenset[bytes]

    @cached_property
    def loaded(self):
        return tf.saved_model.load(self.directory)

    def ask(self, example: bytes, vectors: np.ndarray) -> Row:
        signature = self.loaded.signatures[features.SIGNATURE_BY_VECTORS]
        return row_of(signature(examples=tf.constant([example]), vectors=tf.constant(vectors)))


def row_of(answer: dict) -> Row:
    ids, scores, control = (
        answer[name].numpy()[0]
        for name in (features.OUTPUT_ITEM_IDS, features.OUTPUT_SCORES, features.OUTPUT_RELEVANCE_CONTROL)
    )
    return Row(ids.tolist(), scores.tolist(), control.decode())


def delta_of(built, folder: Path, rows: list[dict], left_out: list[str]) -> Delta:
    added = [row["item_id"][0].decode() for row in rows]
    changes = Changes(tuple(added), tuple(left_out), len(ALL_CATALOG))
    catalog = embed(built.model, [serialize(row) for row in rows])
    card = DeltaCard(7, len(added), len(left_out), changes.removed, "digest")
    write_delta(built.model, catalog, DeltaBasis.load(built.basis_dir), changes, card, str(folder), "souk_delta")
    assert read_card(str(folder)) == card
    return Delta(str(folder), catalog, frozenset(item_id.encode() for item_id in left_out))


@pytest.fixture(scope="module")
def again(built, tmp_path_factory) -> Delta:
    """Of items that have not changed at all, and of a new one."""
    ids = [row["item_id"][0].decode() for row in AGAIN]
    return delta_of(built, tmp_path_factory.mktemp("delta") / "again", [*AGAIN, NEW], ids)


QUERIES = {
    "words": search_example("red lamp"),
    "a word that is not there": search_example("guitat in blue"),
    "dense": search_example("red lamp", retrieval="dense"),
    "lexical": search_example("kettle in white", retrieval="lexical"),
    "brand": search_example("red lamp", filters=Filters(brands=["brand 2", "Acme Co"])),
    "category": search_example("shoes", filters=Filters(categories=["Home > mug"])),
    "price": search_example("chair", filters=Filters(min_price=8.0, max_price=9.0), retrieval="dense"),
    "excluded": search_example("red kettle", filters=Filters(exclude=["red-kettle", "green-kettle", "nobody"])),
    "column": search_example("shoes", filters=Filters(columns=[ColumnFilter("color", values=["black"])])),
    "relevance control": search_example("red lamp", relevance_control=True),
    "nothing named": search_example("zzz", relevance_control=True),
}


@pytest.mark.parametrize("case", QUERIES)
def test_merged_with_the_same_items_answers_are_the_same(case, built, again):
    example = QUERIES[case]
    answer = built.signatures[features.SIGNATURE_DEFAULT](examples=tf.constant([example]))
    full = row_of(answer)
    merged = merge([without(full, again.left_out), again.ask(example, answer[features.OUTPUT_VECTORS].numpy())])
    hits = [hit for hit in zip(merged.ids, merged.scores, strict=True) if hit[0] != b"new"]
    expected = {i: s for i, s in zip(full.ids, full.scores, strict=True) if i}
    assert {i for i, _ in hits if i} == set(expected)
    np.testing.assert_allclose([s for i, s in hits if i], [expected[i] for i, _ in hits if i], atol=2e-5)
    assert merged.relevance_control == full.relevance_control


def test_a_new_item_is_found_by_a_word_no_item_had(built, again):
    example = search_example("zirconium")
    vectors = query_vectors(built.model, [example])
    assert again.ask(example, vectors).ids[0] == b"new"


def test_a_delta_that_only_removes_answers_with_nothing(built, tmp_path):
    delta = delta_of(built, tmp_path / "empty", [], ["a", "red-lamp"])
    row = delta.ask(QUERIES["words"], query_vectors(built.model, [QUERIES["words"]]))
    assert (set(row.ids), set(row.scores), len(row.ids)) == ({b""}, {-math.inf}, 60)
    told = delta.loaded.signatures[features.SIGNATURE_DELTA](query=tf.constant(["?"]))
    assert told[features.OUTPUT_FULL_VERSION].numpy().tolist() == [b"7"]
    assert told[features.OUTPUT_LEFT_OUT].numpy().tolist() == [[b"a", b"red-lamp"]]
    assert not measure_delta(delta.directory, built.model, None, 60, DeltaConfig()).refusals(DeltaConfig())


def test_the_gate_measures_what_is_written(built, again):
    measured = measure_delta(again.directory, built.model, again.catalog, 60, DeltaConfig())
    assert (measured.index_recall, measured.finite, measured.sampled) == (1.0, True, len(AGAIN) + 1)
    assert measured.found_share == 1.0
    assert not measured.refusals(DeltaConfig())
    broken = replace(again.catalog, vectors=np.full_like(again.catalog.vectors, np.nan))
    assert not measure_delta(again.directory, built.model, broken, 60, DeltaConfig()).finite


def test_unavailable_items_are_encoded_and_not_indexed(built):
    rows = [{**row, "available": [b"false"] * (row is AGAIN[1])} for row in AGAIN[:3]]
    catalog = embed(built.model, [serialize(row) for row in rows])
    assert catalog.available.tolist() == [True, False, True]
    assert rows_to_index(catalog, True).tolist() == [0, 2]
    with pytest.raises(InputError, match="nothing to index"):
        rows_to_index(replace(catalog, available=np.zeros(3, bool)), True)


def test_each_fault_is_a_refusal_of_its_own():
    refusals = DeltaMeasurements(0.5, False, 0.1, 10).refusals(DeltaConfig())
    assert [next(w for w in ("number", "exact", "titles") if w in line) for line in refusals] == [
        "number",
        "exact",
        "titles",
    ]


def test_a_full_index_without_a_basis_asks_for_a_refresh(tmp_path):
    with pytest.raises(InputError, match="souk refresh"):
        DeltaBasis.load(str(tmp_path))
