"""`souk evaluate` on a servable that the index builder wrote; tests/evaluation has stand-ins alone."""

import pytest

from evaluation.eval_set import parse_catalog
from evaluation.judged import evaluate_judgments
from evaluation.judgments import Judgment, Judgments
from schema.features import Retrieval
from tests.components.index_builder.test_relevance import ask
from tests.small_shop import ALL_CATALOG, serialize

QUERIES = ("red kettle", "blue lamp", "running shoes")


def test_each_way_of_a_servable_is_measured_as_it_answers(built):
    catalog = parse_catalog([[serialize(item) for item in ALL_CATALOG]])
    items = catalog.item_ids[::3]
    judged = tuple(Judgment(item, 1.0, True) for item in items)
    result = evaluate_judgments(
        built.servable_dir, catalog, Judgments(dict.fromkeys(QUERIES, judged), "right items"), [7], 100
    )
    found = {system.key: system.metrics["recall@7"].value for system in result.systems}
    assert [system.key for system in result.systems if system.is_default] == [built.card()["retrieval"]] == ["hybrid"]
    search = built.signatures["serving_default"]
    for way in Retrieval.ALL:
        answers, _ = ask(search, *({"query": [query.encode()], "retrieval": [way.encode()]} for query in QUERIES))
        hits = [len(set(items) & {item.decode() for item in answer[:7]}) / len(items) for answer in answers]
        assert found[way] == pytest.approx(sum(hits) / len(QUERIES))
