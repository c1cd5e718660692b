"""On artifacts as they may be found: whole, removed, or of a step that did not get far."""

import json

import pytest

from components.canary.result import CanaryResult, Latency
from pipeline.runs import collect
from pipeline.runs.collect import Found
from pipeline.runs.outcome import CanaryRun, InputRows, Source
from pipeline.runs.page import canary_facts
from schema.settings import InputError

COUNTERS = {
    "catalog.read": 7,
    "events.read": 100,
    "events.dropped.empty_query": 3,
    "events.dropped.bad_timestamp": 0,
    "events.duplicates": 4,
    "examples.catalog": 7,
    "examples.train": 60,
}


def gone(path: str) -> None:
    return None


def files(texts: dict[str, str]):
    return texts.get


def test_the_rows_of_an_input_are_told_apart_from_their_outcome():
    summary = {"counters": COUNTERS, "train_start_ms": 1_000, "eval_start_ms": 86_400_000, "end_ms": 172_800_000}
    read = files({"/examples/1/summary.json": json.dumps(summary)})
    data = collect.data_of(Found("/examples/1"), {"events": ("/logs/*",)}, "f00d", read)
    assert data.inputs == {
        "catalog": InputRows((), 7),
        "events": InputRows(("/logs/*",), 100, {"empty_query": 3}, {"duplicates": 4}),
    }
    assert data.examples == {"train": 60, "catalog": 7}
    assert data.dead_letters == "/examples/1/dead_letters"
    assert vars(data.window) == {
        "train_start": "1970-01-01T00:00:01.000Z",
        "eval_start": "1970-01-02T00:00:00.000Z",
        "end": "1970-01-03T00:00:00.000Z",
    }


def test_counts_of_an_input_that_was_not_read_are_kept():
    data = collect.data_of(Found("/examples/1", {"users.states": 3, "examples.train": 1}), {}, "", gone)
    assert data.inputs == {"users": InputRows((), 0, {}, {"states": 3})}


def test_ml_metadata_keeps_the_counts_where_files_are_gone():
    properties = {**COUNTERS, "span": 3, "split_names": "[]"}
    data = collect.data_of(Found("/examples/1", properties), {}, "", gone)
    assert data.window is None
    assert data.inputs["events"].rejected == {"empty_query": 3}
    clean = {name: n for name, n in COUNTERS.items() if "dropped" not in name}
    assert collect.data_of(Found("/examples/1", clean), {}, "", gone).dead_letters == ""


def test_a_servable_tells_of_model_and_index_before_any_gate():
    card = {
        "model": "mmse",
        "trainer": {"heads": 2},
        "history": {"loss": [3.0, 2.0], "recall@100": [0.1, 0.2]},
        "index": "tree",
        "index_parameters": {"leaves": 9},
        "index_curve": [{"recall": 1.0, "latency_ms": 5.0, "chosen": False}, {"recall": 0.9, "chosen": True}],
        "catalog_items": 10,
        "indexed_items": 9,
    }
    servable = Found("/servable/1", {"index": "tree", "indexed_items": 9})
    path = "/servable/1/Format-Serving/assets.extra/souk.json"
    assert collect.read_card(servable, None, files({path: json.dumps(card)})) == card
    model = collect.model_of(Source("/model/1", 3), servable, card, None)
    assert (model.type, model.run, model.epochs, model.metrics) == ("mmse", 3, 2, {"loss": 2.0, "recall@100": 0.2})
    index = collect.index_of(servable, card, None)
    assert (index.kind, index.recall, index.latency_ms, index.measured) == ("tree", 0.9, None, None)
    assert collect.read_card(servable, None, gone) == {}
    assert collect.model_of(Source("/model/1", 3), servable, {}, None) is None
    kept = collect.model_of(Source("/model/1", 3), Found("/servable/1", {"model": "mmse"}), {}, None)
    assert (kept.type, kept.run, kept.epochs, kept.metrics) == ("mmse", 3, 0, {})
    assert collect.index_of(servable, {}, None).indexed_items == 9


def test_a_verdict_outlives_the_evaluation_that_it_rests_on():
    blessing = Found("/blessing/1", {"blessed": 0, "blessing_message": "too few.\nfar too few."})
    written = Found("/evaluation/1", {"recall@10": 0.5, "span": 1, "name": "x"})
    gate = collect.gate_of(blessing, None, None, written)
    assert (gate.blessed, gate.reasons, gate.checks, gate.metrics) == (False, ("too few.", "far too few."), (), {})
    assert (gate.evaluation, gate.candidate) == ("/evaluation/1", {"recall@10": 0.5})


def test_what_the_canary_wrote_is_read_back(tmp_path):
    latency = Latency.of([1.0, 2.0, 30.0])
    CanaryResult(("too slow", "wrong"), 4.0, 5.0, 10, latency, 3, 20.0, 2.0, server="a server").write(tmp_path)
    found = collect.canary_of(Found(str(tmp_path), {"blessed": 0}), collect.read_local)
    assert found == CanaryRun(False, ("too slow", "wrong"), 5.0, 2.0, 30.0, 4.0, 3, 3, 20.0, 2.0, "a server")
    assert ("server", "a server") in canary_facts(found)
    removed = collect.canary_of(Found(str(tmp_path / "gone"), {"blessed": 0}), collect.read_local)
    assert removed == CanaryRun(False, (), None, None, None)


@pytest.mark.parametrize(
    ("gate", "canary", "note"),
    [
        (None, None, ""),
        ((1, "recall is fine."), (), ""),
        ((0, "too few.\nfar too few."), None, "refused by the recall gate: too few. (and 1 more)"),
        ((0, ""), (), "refused by the recall gate"),
        ((1, "recall is fine."), ("too slow\nby far",), "refused by the canary: too slow"),
        (None, ("", "\ntoo slow"), "refused by the canary: too slow"),
        ((1, "recall is fine."), ("too slow", "nan", "short"), "refused by the canary: too slow (and 2 more)"),
        ((0, "too few."), ("too slow",), "refused by the recall gate and the canary: too few. (and 1 more)"),
    ],
)
def test_the_note_of_a_refusal_says_who_and_why(gate, canary, note):
    verdict = gate and collect.gate_of(
        Found("/blessing/1", dict(zip(("blessed", "blessing_message"), gate, strict=True))), None, None, None
    )
    tried = None if canary is None else CanaryRun(not canary, canary, None, None, None)
    assert collect.refusal_of(verdict, tried) == note


def test_a_push_of_an_earlier_run_is_not_this_ones():
    pushed = Found("/pushed/1", {"pushed": 1, "pushed_version": "7", "pushed_destination": "/v/7"})
    assert (collect.push_of(pushed, True).by_this_run, collect.push_of(pushed, False).by_this_run) == (True, False)
    refused = collect.push_of(Found("/pushed/2", {"pushed": 0}), True)
    assert (refused.pushed, refused.version, refused.by_this_run) == (False, "", False)


def test_a_file_that_is_there_and_cannot_be_read_is_named(tmp_path):
    (tmp_path / "file").write_text("{}")
    assert collect.read_local(str(tmp_path / "file")) == "{}"
    assert collect.read_local(str(tmp_path / "none")) is None
    assert collect.read_local(str(tmp_path / "file" / "none")) is None
    with pytest.raises(InputError, match=f"{tmp_path} cannot be read: Is a directory"):
        collect.read_local(str(tmp_path))
