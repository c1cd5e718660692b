"""Servables asked by the workers of a Beam job answer what they answer when asked one after another, here."""

import os

import numpy as np
import pytest

from components.example_gen.ingest import local_pipeline
from evaluation import replay_job
from evaluation.eval_set import read_catalog
from evaluation.replay_job import Question, ReplayJob
from evaluation.servable import LoadedServable
from schema import features
from schema.settings import InputError
from tests.evaluation import small_world as world

REQUESTS = [world.search_example(request) for request in world.eval_requests(90)]


def in_another_process():
    return local_pipeline(["--direct_running_mode=multi_processing", "--direct_num_workers=1"])


def questions(servables, catalog):
    return [
        Question(servables["good"], features.SIGNATURE_DEFAULT, REQUESTS, 20),
        Question(servables["weaker"], features.SIGNATURE_DEFAULT, REQUESTS, 20, batches_per_part=2),
        Question(servables["good"], features.SIGNATURE_QUERY_TEXT, [b"bage new", b"?", b""], 1),
        Question(servables["good"], features.SIGNATURE_ENCODE_QUERY, REQUESTS[:7], 256),
        Question(servables["good"], features.SIGNATURE_ENCODE_ITEMS, catalog.examples, 50, batches_per_part=3),
    ]


@pytest.mark.parametrize("make_pipeline", [None, in_another_process])
def test_answers_are_the_servables_own_in_the_order_of_inputs(make_pipeline, servables, examples_dir, tmp_path):
    catalog = read_catalog(examples_dir)
    asked = questions(servables, catalog)
    with ReplayJob(make_pipeline, tmp_path) as job:
        answers = job.ask(asked)
    for question, answer in zip(asked, answers, strict=True):
        expected = LoadedServable(question.servable).ask(question.signature, question.inputs, question.batch_size)
        assert answer.keys() == expected.keys()
        for name, values in expected.items():
            assert len(answer[name]) == len(question.inputs)
            np.testing.assert_array_equal(answer[name], values.astype(answer[name].dtype))
    assert os.listdir(tmp_path) == []


def test_a_worker_in_this_process_loads_no_servable_again(servables, monkeypatch):
    loaded = []
    original = replay_job.LoadedServable
    monkeypatch.setattr(replay_job, "LoadedServable", lambda path: loaded.append(path) or original(path))
    with ReplayJob() as job:
        job.servable(servables["good"])
        for _ in range(2):
            job.ask([Question(servables["good"], features.SIGNATURE_DEFAULT, REQUESTS, 20)])
    assert loaded == [str(servables["good"])]


def test_a_workers_complaint_of_a_servable_arrives_in_its_words(servables, tmp_path):
    with pytest.raises(InputError, match=r"^\S+/gone holds no `saved_model.pb`"):
        ReplayJob(None, tmp_path).ask([Question(tmp_path / "gone", features.SIGNATURE_DEFAULT, REQUESTS, 20)])
    with pytest.raises(InputError, match="has no signature `encode_anything`"):
        ReplayJob(None, tmp_path).ask([Question(servables["good"], "encode_anything", REQUESTS, 20)])
    assert os.listdir(tmp_path) == []


def test_workers_that_write_to_another_disk_are_recognized(servables, tmp_path, monkeypatch):
    monkeypatch.setattr(replay_job, "write_whole", lambda path, content: None)
    with pytest.raises(InputError, match=r"write to another disk than this process reads.*`root`"):
        ReplayJob(None, tmp_path).ask([Question(servables["good"], features.SIGNATURE_DEFAULT, REQUESTS, 20)])


def test_a_part_that_two_workers_answer_is_there_once(servables, tmp_path):
    """What a worker left that was lost before it said so is written over, or is what the next one writes over."""
    (part,) = replay_job._write_parts(
        Question(servables["good"], features.SIGNATURE_DEFAULT, REQUESTS, 256), str(tmp_path)
    )
    for handle in (replay_job.shared.Shared(), replay_job.shared.Shared()):
        worker = replay_job._Ask(handle)
        worker.setup()
        worker.process(part)
    assert sorted(os.listdir(tmp_path)) == ["000000.npz", "000000.tfrecord"]
    expected = LoadedServable(servables["good"]).ask(part.signature, REQUESTS, part.batch_size)
    np.testing.assert_array_equal(replay_job._read_answer(part)[features.OUTPUT_SCORES], expected["scores"])
