"""The pipeline: what runs, in which order, and what each step is given."""

from dataclasses import dataclass

from tensorflow_data_validation import StatsOptions
from tfx import types
from tfx.components.statistics_gen.component import StatisticsGen
from tfx.dsl.components.base.base_node import BaseNode
from tfx.orchestration import metadata
from tfx.orchestration.data_types import RuntimeParameter
from tfx.orchestration.pipeline import Pipeline
from tfx.proto import pusher_pb2

from components.canary.component import Canary
from components.example_gen.component import SoukExampleGen
from components.example_gen.fingerprint import fingerprint
from components.hard_negatives.component import HardNegativeMiner
from components.index_builder.component import IndexBuilder
from components.pusher.component import Pusher
from components.recall_gate.component import RecallGate
from components.schema_gate.columns import with_columns
from components.schema_gate.component import SchemaGate
from components.schema_gate.gate import parse_schema, read_schema
from components.trainer.component import Trainer
from components.transform.component import Transform
from pipeline import baselines
from pipeline.beam import beam_arguments, for_ingestion
from pipeline.config import PipelineConfig
from pipeline.parameters import DATA_VERSION, DATE, PUSH_DIRECTORY, Given
from pipeline.runs import cluster_summary
from schema import features
from schema.settings import InputError
from trainer.text_encoder import load_encoder


@dataclass(frozen=True)
class DataSteps:
    """The steps from logs to transformed examples, which every training of any model shares."""

    examples: BaseNode
    statistics: tuple[BaseNode, ...]
    schema_gate: BaseNode
    mining: tuple[BaseNode, ...]
    transform: BaseNode

    def nodes(self) -> list[BaseNode]:
        """All of them, in their order."""
        return [self.examples, *self.statistics, self.schema_gate, *self.mining, self.transform]


def create_pipeline(config: PipelineConfig, use_cache: bool = True, compiled: bool = False) -> Pipeline:
    """From logs to a pushed version.

    ExampleGen -> StatisticsGen -> SchemaGate -> Transform -> Trainer -> IndexBuilder -> RecallGate -> Canary -> Pusher

    With `hard_negatives.enabled`, HardNegativeMiner comes before Transform; it alters the training requests alone, so
    all other steps read what ExampleGen wrote.

    Args:
      config: of every step.
      use_cache: whether a step with unchanged inputs and settings takes its outputs from an earlier run.
      compiled: for a cluster. What a run may replace is then a parameter of the run, and baselines are looked up in
        the ledger by the steps that compare with them, as Resolvers can run on this machine alone.

    Raises:
      InputError: an input file or the schema is missing; hard negatives are to be mined and the schema has none; Beam's
        workers could not see a path; the text encoder cannot be loaded.
    """
    if config.train.text_encoder.folder and not compiled:
        # Transform takes minutes before the Trainer reads it.
        load_encoder(config.train.text_encoder.folder)
    given, known = Given(compiled), known_baselines(config, compiled)
    data = _data_steps(config, compiled)
    earlier = known.found_by(baselines.model_to_start_from) if config.train.warm_start else None
    trainer = Trainer(
        examples=data.transform.outputs["transformed_examples"],
        transform_graph=data.transform.outputs["transform_graph"],
        schema=data.schema_gate.outputs["schema"],
        config_json=config.train.to_json(),
        base_model=baselines.output(earlier, baselines.MODEL),
        ledger=known.ledger if config.train.warm_start else "",
        overrides=given("train"),
    )
    index = IndexBuilder(
        model=trainer.outputs["model"],
        examples=data.examples.outputs["examples"],
        config_json=config.index.to_json(),
        # Nothing is looked up: this run trains the model.
        ledger="",
        overrides=given("index"),
    )
    pushing = pushing_steps(config, compiled, index, data.examples.outputs["examples"])
    nodes = [*data.nodes(), earlier, trainer, index, *pushing]
    return assemble(config, [node for node in nodes if node], use_cache, compiled)


def create_data_pipeline(config: PipelineConfig, use_cache: bool = True) -> Pipeline:
    """The same pipeline up to Transform, for work that trains many models on one data set; see `create_pipeline`."""
    return assemble(config, _data_steps(config).nodes(), use_cache)


def _data_steps(config: PipelineConfig, compiled: bool = False) -> DataSteps:
    given, known = Given(compiled), known_baselines(config, compiled)
    examples = SoukExampleGen(
        config_json=config.ingest.to_json(),
        # The files of a run that is yet to come cannot be looked at; it is told apart by its date.
        fingerprint=given(DATA_VERSION) if compiled else fingerprint(config.ingest),
        date=given(DATE),
        overrides=given("ingest"),
    )
    ingesting = for_ingestion(config.beam)
    if ingesting != config.beam and not compiled:
        # They come after those of all steps, and count.
        examples.with_beam_pipeline_args(beam_arguments(ingesting))
    *statistics, schema_gate = checking_steps(config, compiled, examples.outputs["examples"])
    mining = _mining(config, examples.outputs["examples"], schema_gate, known)
    transform = Transform(
        examples=mining[-1].outputs["mined_examples"] if mining else examples.outputs["examples"],
        schema=schema_gate.outputs["schema"],
        config_json=config.transform.to_json(),
    )
    return DataSteps(examples, tuple(statistics), schema_gate, mining, transform)


def checking_steps(config: PipelineConfig, compiled: bool, examples: types.BaseChannel) -> list[BaseNode]:
    """The steps that let good data through; the schema gate comes last."""
    given, known = Given(compiled), known_baselines(config, compiled)
    statistics = StatisticsGen(examples=examples, stats_options=_stats_options(config))
    good_statistics = known.found_by(baselines.good_statistics, current=statistics.outputs["statistics"])
    schema_gate = SchemaGate(
        statistics=statistics.outputs["statistics"],
        baseline_statistics=baselines.output(good_statistics, baselines.STATISTICS),
        schema_text=with_columns(
            read_schema(config.schema_gate.schema_path),
            (features.AVAILABLE, *config.ingest.data.catalog_columns.features),
        ),
        config_json=config.schema_gate.to_json(),
        ledger=known.ledger,
        overrides=given("schema_gate"),
    )
    return [node for node in (statistics, good_statistics, schema_gate) if node]


def pushing_steps(
    config: PipelineConfig,
    compiled: bool,
    index: BaseNode,
    examples: types.BaseChannel | None,
    catalog: types.BaseChannel | None = None,
) -> list[BaseNode]:
    """The steps from a servable to a pushed version; `examples` and `catalog` are those that it was built of."""
    given, known = Given(compiled), known_baselines(config, compiled)
    servable = index.outputs["servable"]
    blessed = known.found_by(baselines.blessed_model, current=servable)
    gate = RecallGate(
        servable=servable,
        baseline_servable=baselines.output(blessed, baselines.MODEL),
        examples=examples,
        catalog=catalog,
        config_json=config.gate.to_json(),
        ledger=known.ledger,
        overrides=given("gate"),
    )
    canary = Canary(
        servable=servable,
        examples=examples,
        catalog=catalog,
        config_json=config.canary.to_json(),
        overrides=given("canary"),
    )
    # Not for its outputs: a candidate that the gate looks at first is what the picture says.
    canary.add_upstream_node(gate)
    pusher = (cluster_summary.Pusher if compiled else Pusher)(
        model=servable,
        model_blessing=gate.outputs["blessing"],
        infra_blessing=canary.outputs["blessing"],
        push_destination=_push_destination(config, given),
        # On this machine the runner writes the summary, from ML Metadata.
        custom_config=cluster_summary.settings(config.name, config.summaries) if compiled else None,
    )
    return [node for node in (blessed, gate, canary, pusher) if node]


def known_baselines(config: PipelineConfig, compiled: bool) -> baselines.Baselines:
    """How the steps come by what they compare with."""
    return baselines.Baselines(config.ledger if compiled else "")


def assemble(config: PipelineConfig, nodes: list[BaseNode], use_cache: bool, compiled: bool = False) -> Pipeline:
    """The pipeline of these nodes. All of one configuration share name, cache and history of blessed models."""
    store = None if compiled else metadata.sqlite_metadata_connection_config(config.metadata_path)
    return Pipeline(
        pipeline_name=config.name,
        pipeline_root=config.artifacts_root,
        components=nodes,
        enable_cache=use_cache,
        metadata_connection_config=store,
        beam_pipeline_args=config.beam_arguments(),
    )


def _mining(
    config: PipelineConfig, examples: types.BaseChannel, schema_gate: BaseNode, known: baselines.Baselines
) -> tuple[BaseNode, ...]:
    """The nodes that mine hard negatives; none where that is off."""
    if not config.hard_negatives.enabled:
        return ()
    path = config.schema_gate.schema_path
    if features.HARD_NEGATIVES not in {feature.name for feature in parse_schema(read_schema(path), path).feature}:
        raise InputError(
            f"`hard_negatives.enabled` is set, but the schema {path} has no feature `{features.HARD_NEGATIVES}`, so "
            "Transform would drop what is mined. Copy that feature from Souk's own schema/souk.pbtxt"
        )
    blessed = known.found_by(baselines.model_to_mine)
    miner = HardNegativeMiner(
        examples=examples,
        servable=baselines.output(blessed, baselines.MODEL),
        config_json=config.hard_negatives.to_json(),
        ledger=known.ledger,
    )
    # Not for its outputs: data that the gate refuses is not worth the work.
    miner.add_upstream_node(schema_gate)
    return (blessed, miner) if blessed else (miner,)


def _stats_options(config: PipelineConfig) -> StatsOptions:
    """Sketches in place of exact counts of distinct values: nothing is validated on the counts of ids."""
    rate = config.schema_gate.sample_rate
    return StatsOptions(sample_rate=rate if rate < 1.0 else None, use_sketch_based_topk_uniques=True)


def _push_destination(config: PipelineConfig, given: Given) -> pusher_pb2.PushDestination | RuntimeParameter:
    if given.compiled:
        return given(PUSH_DIRECTORY, config.model_directory)
    filesystem = pusher_pb2.PushDestination.Filesystem(base_directory=config.model_directory)
    return pusher_pb2.PushDestination(filesystem=filesystem)
