"""The pipeline: what runs, in which order, and what each step is given."""

from dataclasses import dataclass

from tensorflow_data_validation import StatsOptions
from tfx import types
from tfx.components import StatisticsGen, Trainer, Transform
from tfx.dsl.components.base.base_node import BaseNode
from tfx.dsl.components.common.resolver import Resolver
from tfx.orchestration import metadata
from tfx.orchestration.pipeline import Pipeline
from tfx.proto import pusher_pb2, trainer_pb2, transform_pb2

from components.canary.component import Canary
from components.example_gen.component import SoukExampleGen
from components.example_gen.fingerprint import fingerprint
from components.hard_negatives.component import HardNegativeMiner
from components.index_builder.component import IndexBuilder
from components.pusher.component import Pusher
from components.recall_gate.component import RecallGate
from components.schema_gate.component import SchemaGate
from components.schema_gate.gate import parse_schema, read_schema
from components.transform.preprocessing import CUSTOM_CONFIG_KEY as TRANSFORM_CONFIG_KEY
from pipeline import baselines
from pipeline.config import PipelineConfig
from schema import features
from schema.settings import InputError
from trainer.config import CUSTOM_CONFIG_KEY as TRAINER_CONFIG_KEY


@dataclass(frozen=True)
class DataSteps:
    """The steps from logs to transformed examples, which every training of any model shares."""

    examples: BaseNode
    statistics: BaseNode
    good_statistics: BaseNode
    schema_gate: BaseNode
    mining: tuple[BaseNode, ...]
    transform: BaseNode

    def nodes(self) -> list[BaseNode]:
        """All of them, in their order."""
        return [self.examples, self.statistics, self.good_statistics, self.schema_gate, *self.mining, self.transform]


def create_pipeline(config: PipelineConfig, use_cache: bool = True) -> Pipeline:
    """From logs to a pushed version.

    ExampleGen -> StatisticsGen -> SchemaGate -> Transform -> Trainer -> IndexBuilder -> RecallGate -> Canary -> Pusher

    With `hard_negatives.enabled`, HardNegativeMiner comes before Transform; it alters the training requests alone, so
    all other steps read what ExampleGen wrote.

    Args:
      config: of every step.
      use_cache: whether a step with unchanged inputs and settings takes its outputs from an earlier run.

    Raises:
      InputError: an input file or the schema is missing; hard negatives are to be mined and the schema has none.
    """
    data = _data_steps(config)
    earlier = baselines.model_to_start_from() if config.train.warm_start else None
    trainer = Trainer(
        run_fn="trainer.run_fn.run_fn",
        examples=data.transform.outputs["transformed_examples"],
        transform_graph=data.transform.outputs["transform_graph"],
        schema=data.schema_gate.outputs["schema"],
        train_args=trainer_pb2.TrainArgs(splits=[features.TRAIN_SPLIT]),
        eval_args=trainer_pb2.EvalArgs(splits=[features.EVAL_SPLIT]),
        custom_config={TRAINER_CONFIG_KEY: config.train.to_json()},
        base_model=earlier.outputs[baselines.MODEL] if earlier else None,
    )
    index = IndexBuilder(
        model=trainer.outputs["model"],
        examples=data.examples.outputs["examples"],
        config_json=config.index.to_json(),
    )
    blessed = baselines.blessed_model(current=index.outputs["servable"])
    gate = RecallGate(
        servable=index.outputs["servable"],
        baseline_servable=blessed.outputs[baselines.MODEL],
        examples=data.examples.outputs["examples"],
        config_json=config.gate.to_json(),
    )
    canary = Canary(
        servable=index.outputs["servable"],
        examples=data.examples.outputs["examples"],
        config_json=config.canary.to_json(),
    )
    # Not for its outputs: a candidate that the gate looks at first is what the picture says.
    canary.add_upstream_node(gate)
    pusher = Pusher(
        model=index.outputs["servable"],
        model_blessing=gate.outputs["blessing"],
        infra_blessing=canary.outputs["blessing"],
        push_destination=_push_destination(config),
    )
    return _pipeline(
        config,
        [*data.nodes(), *([earlier] if earlier else []), trainer, index, blessed, gate, canary, pusher],
        use_cache,
    )


def create_data_pipeline(config: PipelineConfig, use_cache: bool = True) -> Pipeline:
    """The same pipeline up to Transform, for work that trains many models on one data set; see `create_pipeline`."""
    return _pipeline(config, _data_steps(config).nodes(), use_cache)


def _data_steps(config: PipelineConfig) -> DataSteps:
    examples = SoukExampleGen(config_json=config.ingest.to_json(), fingerprint=fingerprint(config.ingest))
    statistics = StatisticsGen(examples=examples.outputs["examples"], stats_options=_stats_options(config))
    good_statistics = baselines.good_statistics(current=statistics.outputs["statistics"])
    schema_gate = SchemaGate(
        statistics=statistics.outputs["statistics"],
        baseline_statistics=good_statistics.outputs[baselines.STATISTICS],
        config=config.schema_gate,
    )
    mining = _mining(config, examples.outputs["examples"], schema_gate)
    transform = Transform(
        examples=mining[-1].outputs["mined_examples"] if mining else examples.outputs["examples"],
        schema=schema_gate.outputs["schema"],
        preprocessing_fn="components.transform.preprocessing.preprocessing_fn",
        splits_config=transform_pb2.SplitsConfig(
            analyze=[features.TRAIN_SPLIT, features.CATALOG_SPLIT], transform=list(features.SPLITS)
        ),
        custom_config={TRANSFORM_CONFIG_KEY: config.transform.to_json()},
        disable_statistics=True,
        # The cache of analyses pays off over many spans of data; with one it only costs time.
        disable_analyzer_cache=True,
        # TF 1 graphs are traced once per phase, TF 2 functions several times: less than half the time for a small shop.
        force_tf_compat_v1=True,
    )
    return DataSteps(examples, statistics, good_statistics, schema_gate, mining, transform)


def _pipeline(config: PipelineConfig, nodes: list[BaseNode], use_cache: bool) -> Pipeline:
    return Pipeline(
        pipeline_name=config.name,
        pipeline_root=config.artifacts_root,
        components=nodes,
        enable_cache=use_cache,
        metadata_connection_config=metadata.sqlite_metadata_connection_config(config.metadata_path),
        beam_pipeline_args=list(config.beam_args),
    )


def _mining(
    config: PipelineConfig, examples: types.BaseChannel, schema_gate: SchemaGate
) -> tuple[Resolver, HardNegativeMiner] | tuple[()]:
    """The nodes that mine hard negatives; none where that is off."""
    if not config.hard_negatives.enabled:
        return ()
    path = config.schema_gate.schema_path
    if features.HARD_NEGATIVES not in {feature.name for feature in parse_schema(read_schema(path), path).feature}:
        raise InputError(
            f"`hard_negatives.enabled` is set, but the schema {path} has no feature `{features.HARD_NEGATIVES}`, so "
            "Transform would drop what is mined. Copy that feature from Souk's own schema/souk.pbtxt"
        )
    blessed = baselines.model_to_mine()
    miner = HardNegativeMiner(
        examples=examples, servable=blessed.outputs[baselines.MODEL], config_json=config.hard_negatives.to_json()
    )
    # Not for its outputs: data that the gate refuses is not worth the work.
    miner.add_upstream_node(schema_gate)
    return blessed, miner


def _stats_options(config: PipelineConfig) -> StatsOptions:
    """Sketches in place of exact counts of distinct values: nothing is validated on the counts of ids."""
    rate = config.schema_gate.sample_rate
    return StatsOptions(sample_rate=rate if rate < 1.0 else None, use_sketch_based_topk_uniques=True)


def _push_destination(config: PipelineConfig) -> pusher_pb2.PushDestination:
    filesystem = pusher_pb2.PushDestination.Filesystem(base_directory=config.model_directory)
    return pusher_pb2.PushDestination(filesystem=filesystem)
