import dataclasses
import json
import re
import types
import typing
from pathlib import Path

import pytest

from evaluation.bootstrap import Estimate
from evaluation.results import Check
from pipeline.runs import outcome as parts
from schema.settings import InputError

PAGE = (Path(__file__).parents[3] / "docs" / "runs.md").read_text()

WHOLE = parts.RunOutcome(
    pipeline="shop",
    run=2,
    run_id="20260301-020000",
    result="pushed",
    exit_code=0,
    note="pushed to /v/3",
    souk="0.1.0",
    started="2026-03-01T02:00:00.000Z",
    ended="2026-03-01T02:10:00.000Z",
    seconds=600.0,
    kind="run",
    state="done",
    settings={"train": {"model": "dpsr", "epochs": 3}},
    data=parts.Data(
        uri="/examples/1",
        window=parts.Window("2026-02-01T00:00:00.000Z", "2026-02-28T00:00:00.000Z", "2026-03-01T00:00:00.000Z"),
        inputs={"events": parts.InputRows(("/logs/*.jsonl",), 10, {"empty_query": 1}, {"duplicates": 2})},
        examples={"train": 5, "eval": 1},
        dead_letters="/examples/1/dead_letters",
        fingerprint="f00d",
    ),
    schema=parts.SchemaCheck(
        "/souk.pbtxt", "ec7b", True, (parts.FoundAnomaly("eval", "brand", "warning", "High drift"),)
    ),
    model=parts.Model("dpsr", "/model/2", {"dim": 8}, 2, 3, {"loss": 0.5}, parts.Source("/model/1", 1, "1")),
    index=parts.Index("tree", "/servable/2", {"leaves": 10}, 99, 100, 0.98, 0.2, Estimate(0.97, 0.96, 0.98)),
    gate=parts.Gate(
        blessed=True,
        reasons=("recall@10 is 0.5.",),
        primary_k=10,
        checks=(Check("recall@10", "passed", "0.5", ">= 0.1", "recall@10 is 0.5."),),
        metrics={"candidate": {"recall@10": Estimate(0.5, 0.4, 0.6)}},
        requests=100,
        baseline=parts.Source("/servable/1", 1, "1"),
        evaluation="/evaluation/2",
        candidate={"recall@10": 0.5},
    ),
    canary=parts.CanaryRun(True, (), 3.0, 1.0, 2.0),
    push=parts.Push(True, "3", "/v/3", True),
    steps=(parts.StepOutcome("Trainer", "cached", "2026-03-01T02:00:00.000Z", 0.0, "", 1, {"model": "/model/1"}),),
    files=parts.Files("/log", "/report", "/evaluation/2", "/metadata.sqlite"),
)


def test_what_is_written_is_read_back_the_same():
    assert parts.RunOutcome.from_json(WHOLE.to_json()) == WHOLE
    bare = parts.RunOutcome("shop", None, "x", "failed", 1, "Trainer failed", "0.1.0")
    assert parts.RunOutcome.from_json(bare.to_json()) == bare


def test_fields_that_a_later_souk_adds_are_passed_over():
    values = json.loads(WHOLE.to_json())
    values["data"]["bytes"] = 1
    assert parts.RunOutcome.from_json(json.dumps({**values, "cost": 3})) == WHOLE


@pytest.mark.parametrize(
    ("change", "message"),
    [
        # Of the spelling before `index.catalog_items`.
        ({"version": 1, "index": {"catalogue_items": 9}}, "is a summary of version 1; this Souk reads version 2"),
        ({"version": 3, "result": "blessed"}, "is a summary of version 3; this Souk reads version 2"),
        ({"version": None}, "is a summary of version None; this Souk reads version 2"),
        ({"result": "fine"}, r"is no summary of a run: result: .*'pushed'"),
        ({"push": {"pushed": True}}, r"is no summary of a run: push\.version: Field required"),
    ],
)
def test_what_is_no_summary_of_this_version_is_refused(change, message):
    text = json.dumps({**json.loads(WHOLE.to_json()), **change})
    with pytest.raises(InputError, match=f"^run-2.json {message}"):
        parts.RunOutcome.from_json(text, "run-2.json")


@pytest.mark.parametrize("text", ["{", "[]", "null"])
def test_what_is_no_json_object_is_refused(text):
    with pytest.raises(InputError, match=r"^run-2\.json is no summary of a run"):
        parts.RunOutcome.from_json(text, "run-2.json")


def test_the_page_names_the_version_of_the_format():
    assert f"| `version` | of this format: {parts.VERSION};" in PAGE


def test_the_page_explains_every_field():
    table = PAGE[PAGE.index("| field | what it is |") :]
    explained = {
        name for row in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE) for name in re.findall(r"`(.+?)`", row)
    }
    assert explained == set(_fields(parts.RunOutcome))


def _fields(kind: type, prefix: str = "") -> typing.Iterator[str]:
    """Names with dots, down to what is no group of one run's facts."""
    for name, hint in typing.get_type_hints(kind).items():
        options = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
        group = next((option for option in options if dataclasses.is_dataclass(option)), None)
        if group is None or prefix:
            yield prefix + name
        else:
            yield from _fields(group, f"{name}.")
