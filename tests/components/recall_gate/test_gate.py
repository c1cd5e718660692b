import dataclasses
import io
import shutil

import pytest
from rich.console import Console

from components.recall_gate.config import GateConfig
from components.recall_gate.verdict import evaluate_and_judge
from evaluation.report.render import render_report
from evaluation.results import Evaluation
from pipeline.runs import tables
from schema import features
from schema.settings import InputError
from tests.evaluation import small_world as world

CONFIG = GateConfig(ks=(5, 10, 20), primary_k=20, bootstrap_samples=300, latency_requests=20, index_recall_requests=100)


@pytest.fixture(scope="module")
def good(examples_dir, servables):
    return evaluate_and_judge(servables["good"], examples_dir, CONFIG)


def refused(evaluation, *words):
    assert not evaluation.verdict.blessed
    assert any(all(word in reason for word in words) for reason in evaluation.verdict.reasons), (
        evaluation.verdict.reasons
    )


def test_a_good_servable_is_blessed(good):
    assert good.verdict.blessed, good.verdict.reasons
    assert good.baseline_note.startswith("No servable has been blessed before")
    assert good.system("candidate").metrics["recall@20"].value > 0.95


def test_measured_recall_equals_a_count_by_hand(good, examples_dir):
    """BM25 and popularity are checked elsewhere; of the page as shown the truth is known from the requests."""
    shares = []
    for one in world.eval_requests():
        wanted = {item for item, stage in zip(one.items, one.stages, strict=True) if stage >= 2}
        if wanted:
            shares.append(len(wanted & set(one.items[:5])) / len(wanted))
    assert good.system("as_shown").metrics["recall@5"].value == pytest.approx(sum(shares) / len(shares))
    assert good.sample.requests == len(shares)


def test_every_baseline_stands_beside_the_candidate(good):
    assert [system.key for system in good.systems] == [
        "candidate",
        "popularity",
        "memorized_clicks",
        "bm25",
        "bm25_clicked_queries",
        "as_shown",
    ]


def test_each_retrieval_is_measured_and_the_default_judged(examples_dir, servables, good):
    evaluation = evaluate_and_judge(servables["hybrid"], examples_dir, CONFIG.model_copy(update={"min_recall": 0.9}))
    recall = {system.key: system.metrics["recall@20"].value for system in evaluation.systems}
    assert recall["candidate_dense"] == good.system("candidate").metrics["recall@20"].value
    assert recall["candidate_lexical"] < 0.2 < recall["candidate"]
    assert [system.label for system in evaluation.systems][:3] == [
        "Candidate, hybrid (default)",
        "Candidate, dense",
        "Candidate, lexical",
    ]
    assert "candidate_hybrid" not in recall
    # The index is that of dense retrieval, and the answers of another way say nothing about it.
    assert evaluation.index_recall == good.index_recall


def test_a_log_without_impressions_has_no_page_to_compare_with(tmp_path, servables):
    """Neither as a row nor as slices; what searchers clicked is measured as ever."""
    world.write_examples(tmp_path)
    chosen = []
    for one in world.eval_requests():
        kept = [(item, stage) for item, stage in zip(one.items, one.stages, strict=True) if stage >= 2]
        items, stages = zip(*kept, strict=True) if kept else ((), ())
        chosen.append(dataclasses.replace(one, items=items, stages=stages, positions=(0,) * len(items)))
    shutil.rmtree(tmp_path / "Split-eval")
    world.write_split(tmp_path, features.EVAL_SPLIT, [world.search_example(one) for one in chosen])
    evaluation = evaluate_and_judge(servables["good"], tmp_path, CONFIG)
    assert evaluation.system("as_shown") is None
    assert not [piece.key for piece in evaluation.slices if piece.group == "exposure"]
    assert evaluation.system("candidate").metrics["recall@20"].value > 0.95
    assert Evaluation.from_json(evaluation.to_json()) == evaluation
    assert "As shown" not in render_report(evaluation)
    console = Console(file=io.StringIO(), width=120)
    console.print(tables.evaluation_table(evaluation))
    assert "As shown" not in console.file.getvalue()
    assert "Memorized clicks" in console.file.getvalue()


def test_bm25_with_clicked_queries_can_be_what_must_be_beaten(examples_dir, servables):
    config = CONFIG.model_copy(update={"must_beat": ("bm25_clicked_queries",)})
    evaluation = evaluate_and_judge(servables["shuffled"], examples_dir, config)
    refused(evaluation, "no better than BM25 + clicked queries")


def test_a_refresh_is_measured_on_what_both_catalogs_have(good, tmp_path, examples_dir, servables):
    kept = [item for item in range(world.ITEMS) if item % 21]
    for name, items in (("now", kept), ("before", range(40, world.ITEMS))):
        examples = [world.catalog_example(item) for item in items]
        world.write_split(tmp_path / name, features.CATALOG_SPLIT, examples)
    evaluation = evaluate_and_judge(
        servables["good"],
        examples_dir,
        CONFIG,
        servables["good"],
        catalog_dir=tmp_path / "now",
        baseline_catalog_dir=tmp_path / "before",
    )
    chosen = [
        item for one in world.eval_requests() for item, stage in zip(one.items, one.stages, strict=True) if stage >= 2
    ]
    there = {world.item_id(item) for item in kept}
    assert evaluation.sample.gone == pytest.approx(1 - sum(item in there for item in chosen) / len(chosen))
    assert evaluation.sample.gone > 0.02
    assert evaluation.sample.catalog_items == len(kept)
    assert evaluation.sample.relevant_items < good.sample.relevant_items
    assert good.sample.gone is None
    # Of those it finds as many as ever: none counts as missed because it has gone.
    assert evaluation.system("candidate").metrics["recall@20"].value > 0.95
    checks = {check.name: check.status for check in evaluation.verdict.checks}
    assert checks["items gone from the catalog"] == "passed"


def test_shuffled_weights_are_refused(examples_dir, servables):
    evaluation = evaluate_and_judge(servables["shuffled"], examples_dir, CONFIG)
    refused(evaluation, "no better than Popularity")
    # Its index is as good as any: only what it searches for is wrong.
    assert evaluation.index_recall.estimate.value > 0.95


def test_a_passing_servable_worse_than_the_blessed_is_refused(examples_dir, servables):
    alone = evaluate_and_judge(servables["weaker"], examples_dir, CONFIG)
    assert alone.verdict.blessed, alone.verdict.reasons
    beside = evaluate_and_judge(servables["weaker"], examples_dir, CONFIG, servables["good"])
    refused(beside, "against the blessed servable", "worse by more than 5%")
    behind = beside.system("baseline").behind_candidate["recall@20"]
    assert behind.high < 0


def test_a_servable_that_may_be_too_much_worse_is_refused(examples_dir, servables):
    evaluation = evaluate_and_judge(servables["slightly_weaker"], examples_dir, CONFIG, servables["good"])
    refused(evaluation, "cannot be ruled out on this eval split")


def test_a_servable_as_good_as_the_blessed_one_is_blessed(examples_dir, servables):
    evaluation = evaluate_and_judge(servables["good"], examples_dir, CONFIG, servables["good"])
    assert evaluation.verdict.blessed, evaluation.verdict.reasons
    behind = evaluation.system("baseline").behind_candidate["recall@20"]
    assert (behind.value, behind.low, behind.high) == (0.0, 0.0, 0.0)


def test_a_better_servable_is_blessed(examples_dir, servables):
    evaluation = evaluate_and_judge(servables["good"], examples_dir, CONFIG, servables["weaker"])
    assert evaluation.verdict.blessed, evaluation.verdict.reasons


@pytest.mark.parametrize("count", [60, 1, 0])
def test_an_eval_split_too_small_to_decide_is_refused_as_such(tmp_path, servables, count):
    # Of one request, number 0 ends without a click.
    examples = world.write_examples(tmp_path, eval_count=count)
    evaluation = evaluate_and_judge(servables["good"], examples, CONFIG, servables["good"])
    refused(evaluation, "too small to decide", f"{max(0, count - count // 10 - (count == 1))} evaluation requests")
    assert Evaluation.from_json(evaluation.to_json()) == evaluation


def test_an_index_that_misses_items_is_refused(examples_dir, servables):
    evaluation = evaluate_and_judge(servables["broken_index"], examples_dir, CONFIG)
    refused(evaluation, "index recall@20")


def test_a_diverged_model_is_refused(examples_dir, servables):
    evaluation = evaluate_and_judge(servables["diverged"], examples_dir, CONFIG)
    refused(evaluation, "not numbers", "diverged")


def test_an_evaluation_survives_json(good):
    assert Evaluation.from_json(good.to_json()) == good


def test_what_is_no_evaluation_is_named():
    with pytest.raises(InputError, match=r"old.json is not an evaluation of Souk's gate: at .*"):
        Evaluation.from_json('{"servable": 3}', "old.json")


def test_the_same_inputs_give_the_same_numbers(good, examples_dir, servables):
    again = evaluate_and_judge(servables["good"], examples_dir, CONFIG)
    assert again.systems == good.systems
    assert again.slices == good.slices
    assert again.verdict == good.verdict


def test_a_blessed_servable_that_is_gone_is_told_not_compared(examples_dir, servables, tmp_path):
    evaluation = evaluate_and_judge(servables["good"], examples_dir, CONFIG, tmp_path / "removed")
    assert evaluation.verdict.blessed
    assert "is no longer on disk" in evaluation.baseline_note
    assert evaluation.system("baseline") is None


def test_a_servable_that_answers_too_few_items_is_named(examples_dir, servables):
    with pytest.raises(InputError, match=r"answers 25 items, but the gate measures at 100.*Raise the index"):
        evaluate_and_judge(servables["good"], examples_dir, GateConfig())


def test_a_folder_that_is_no_servable_is_named(examples_dir, tmp_path):
    with pytest.raises(InputError, match=r"holds no `saved_model.pb`"):
        evaluate_and_judge(tmp_path, examples_dir, CONFIG)


def test_new_items_are_measured_on_their_own(good):
    new = next(piece for piece in good.slices if piece.key == "items=new")
    assert new.recall["popularity"].value == 0.0
    assert new.recall["candidate"].value > 0.9


def test_examples_have_distinct_queries_and_mark_wanted_items(good):
    assert len({example.query for example in good.examples}) == len(good.examples) == CONFIG.example_requests
    assert {example.frequency for example in good.examples} == {"head", "torso", "tail", "unseen"}
    for example in good.examples:
        ranks = dict(example.wanted)
        for place, item in enumerate(example.candidate, start=1):
            assert item.relevant == (ranks.get(item.title) == place)
