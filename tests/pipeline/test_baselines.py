import ml_metadata
import pytest
from ml_metadata.proto import metadata_store_pb2
from tfx.types import standard_artifacts

from pipeline import baselines

_Execution = metadata_store_pb2.Execution
_Event = metadata_store_pb2.Event


@pytest.fixture
def store():
    config = metadata_store_pb2.ConnectionConfig()
    config.fake_database.SetInParent()
    return ml_metadata.MetadataStore(config)


def artifact(kind, artifact_id):
    made = kind()
    made.id = artifact_id
    return made


def statistics(store, *states):
    """One statistics artifact per state of the schema gate that read it; None: no gate came to read it."""
    artifact_type = store.put_artifact_type(metadata_store_pb2.ArtifactType(name="ExampleStatistics"))
    gate = store.put_execution_type(metadata_store_pb2.ExecutionType(name="SchemaGate"))
    made = []
    for number, state in enumerate(states):
        [artifact_id] = store.put_artifacts([metadata_store_pb2.Artifact(type_id=artifact_type, uri=f"/{number}")])
        made.append(artifact(standard_artifacts.ExampleStatistics, artifact_id))
        if state is not None:
            [execution] = store.put_executions([_Execution(type_id=gate, last_known_state=state)])
            event = _Event(artifact_id=artifact_id, execution_id=execution, type=_Event.INPUT)
            event.path.steps.add(key="statistics")
            store.put_events([event])
    return made


def resolved_statistics(store, found, current):
    inputs = {"current": current, "statistics": found}
    return baselines.LastOtherGoodStatistics().resolve_artifacts(store, inputs)["statistics"]


def test_the_first_run_has_no_data_to_compare_with(store):
    [own] = statistics(store, None)
    assert resolved_statistics(store, [own], [own]) == []
    assert resolved_statistics(store, [], []) == []


def test_the_last_data_that_passed_the_gate_is_the_baseline(store):
    older, newer, own = statistics(store, _Execution.COMPLETE, _Execution.CACHED, None)
    assert resolved_statistics(store, [older, newer, own], [own]) == [newer]


def test_data_that_was_refused_or_never_judged_is_no_baseline(store):
    good, *bad, own = statistics(
        store, _Execution.COMPLETE, _Execution.FAILED, _Execution.CANCELED, _Execution.RUNNING, None, None
    )
    assert resolved_statistics(store, [good, *bad, own], [own]) == [good]
    assert resolved_statistics(store, [*bad, own], [own]) == []


def test_a_runs_own_data_is_no_baseline_though_it_passed_before(store):
    older, own = statistics(store, _Execution.COMPLETE, _Execution.COMPLETE)
    assert resolved_statistics(store, [older, own], [own]) == [older]


def test_a_refreshed_catalog_is_no_baseline_for_a_whole_run(store):
    run, refresh, own = statistics(store, _Execution.COMPLETE, _Execution.COMPLETE, None)
    run.split_names = own.split_names = '["train", "eval", "catalog"]'
    refresh.split_names = '["catalog"]'
    assert resolved_statistics(store, [run, refresh, own], [own]) == [run]
    own.split_names = '["catalog"]'
    assert resolved_statistics(store, [run, refresh, own], [own]) == [refresh]


def blessing(artifact_id, model, blessed):
    made = artifact(standard_artifacts.ModelBlessing, artifact_id)
    made.set_int_custom_property("blessed", int(blessed))
    made.set_int_custom_property("current_model_id", model.id)
    return made


def resolved_model(models, blessings, current):
    inputs = {"current": current, "model": models, "model_blessing": blessings}
    return baselines.LastOtherBlessedModel().resolve_artifacts(None, inputs)


def test_the_latest_other_blessed_model_is_the_baseline():
    models = [artifact(standard_artifacts.Model, number) for number in (1, 2, 3, 4)]
    blessings = [blessing(10 + model.id, model, blessed=model.id != 3) for model in models]
    found = resolved_model(models, blessings, [models[3]])
    assert found["model"] == [models[1]]
    assert found["model_blessing"] == [blessings[1]]


def test_without_another_blessed_model_there_is_no_baseline():
    own = artifact(standard_artifacts.Model, 1)
    refused = artifact(standard_artifacts.Model, 2)
    blessings = [blessing(11, own, blessed=True), blessing(12, refused, blessed=False)]
    assert resolved_model([own, refused], blessings, [own])["model"] == []
    assert resolved_model([own], [], [own]) == {"current": [], "model": [], "model_blessing": []}


def test_a_run_without_a_model_yet_finds_the_last_blessed_one():
    models = [artifact(standard_artifacts.Model, number) for number in (1, 2, 3)]
    blessings = [blessing(10 + model.id, model, blessed=model.id != 3) for model in models]
    strategy = baselines.LastOtherBlessedModel()
    found = strategy.resolve_artifacts(None, {"model": models, "model_blessing": blessings})
    assert found == {"model": [models[1]], "model_blessing": [blessings[1]]}
    assert strategy.resolve_artifacts(None, {"model": [], "model_blessing": []}) == {"model": [], "model_blessing": []}


def built(store, servable_of):
    """Models, and servables each built of one of them: `(models, servables)` as TFX artifacts."""
    model_type = store.put_artifact_type(metadata_store_pb2.ArtifactType(name="Model"))
    builder = store.put_execution_type(metadata_store_pb2.ExecutionType(name="IndexBuilder"))

    def put(uri):
        [artifact_id] = store.put_artifacts([metadata_store_pb2.Artifact(type_id=model_type, uri=uri)])
        return artifact(standard_artifacts.Model, artifact_id)

    models = [put(f"/model/{number}") for number in range(max(servable_of) + 1)]
    servables = []
    for number in servable_of:
        servables.append(put(f"/servable/of/{number}"))
        [execution] = store.put_executions([_Execution(type_id=builder, last_known_state=_Execution.COMPLETE)])
        for key, kind, made in (
            ("model", _Event.INPUT, models[number]),
            ("servable", _Event.OUTPUT, servables[-1]),
        ):
            event = _Event(artifact_id=made.id, execution_id=execution, type=kind)
            event.path.steps.add(key=key)
            store.put_events([event])
    return models, servables


def test_training_starts_from_the_last_blessed_servables_model(store):
    models, servables = built(store, [0, 1, 2])
    blessings = [blessing(100 + s.id, s, blessed=n != 2) for n, s in enumerate(servables)]
    inputs = {"model": [*models, *servables], "model_blessing": blessings}
    found = baselines.LastBlessedTraining().resolve_artifacts(store, inputs)
    assert found == {"model": [models[1]], "model_blessing": [blessings[1]]}


def test_a_refresh_finds_the_examples_the_servable_was_built_of(store):
    _, servables = built(store, [0, 1])
    kind = store.put_artifact_type(metadata_store_pb2.ArtifactType(name="Examples"))
    ids = store.put_artifacts([metadata_store_pb2.Artifact(type_id=kind, uri=f"/examples/{n}") for n in range(4)])
    examples = [artifact(standard_artifacts.Examples, number) for number in ids]
    for n, servable in enumerate(servables):
        [build] = [event.execution_id for event in store.get_events_by_artifact_ids([servable.id])]
        for key, made in (("examples", examples[n]), ("catalog", examples[n + 2])):
            event = _Event(artifact_id=made.id, execution_id=build, type=_Event.INPUT)
            event.path.steps.add(key=key)
            store.put_events([event])
    blessings = [blessing(100 + s.id, s, blessed=n == 0) for n, s in enumerate(servables)]
    inputs = {"model": servables, "model_blessing": blessings, "examples": examples}
    found = baselines.LastBlessedTraining().resolve_artifacts(store, inputs)
    assert found["examples"] == [examples[0]]
    assert baselines.LastBlessedTraining().resolve_artifacts(store, {**inputs, "model_blessing": []}) == {
        "model": [],
        "model_blessing": [],
        "examples": [],
    }


def test_training_starts_from_nothing_before_any_blessing(store):
    models, servables = built(store, [0])
    refused = [blessing(100, servables[0], blessed=False)]
    strategy = baselines.LastBlessedTraining()
    for blessings in (refused, []):
        inputs = {"model": [*models, *servables], "model_blessing": blessings}
        assert strategy.resolve_artifacts(store, inputs)["model"] == []
