"""The shorter pipeline, which gives the model that was blessed last a new catalog."""

from collections.abc import Mapping
from typing import Final, Protocol

from tfx.dsl.components.base.base_node import BaseNode
from tfx.orchestration.pipeline import Pipeline

from components.example_gen.component import CATALOG_FINGERPRINT, CatalogExampleGen
from components.example_gen.fingerprint import catalog_fingerprint
from components.index_builder.component import NOTHING_BLESSED, IndexBuilder
from pipeline import baselines
from pipeline.config import PipelineConfig
from pipeline.parameters import DATA_VERSION, DATE, Given
from pipeline.pipeline import assemble, checking_steps, create_pipeline, known_baselines, pushing_steps
from pipeline.runs import metadata
from schema.settings import InputError


def create_refresh_pipeline(config: PipelineConfig, use_cache: bool = True, compiled: bool = False) -> Pipeline:
    """From the catalog to a pushed version, with the trained model of the servable that was blessed last.

    CatalogExampleGen -> StatisticsGen -> SchemaGate -> IndexBuilder -> RecallGate -> Canary -> Pusher

    What stands for searchers are the requests that the model was evaluated on when it was trained. On this machine a
    catalog that still is the one of that run is not read again: all that follows is then what that run left.

    Args:
      config: of every step.
      use_cache: as for `create_pipeline`.
      compiled: as for `create_pipeline`; the ledger says which model was blessed last.

    Raises:
      InputError: the catalog or the schema is missing, or, on this machine, no model has been blessed yet.
    """
    given, known = Given(compiled), known_baselines(config, compiled)
    found = known.found_by(baselines.model_to_refresh)
    examples = baselines.output(found, baselines.EXAMPLES)
    nodes: list[BaseNode] = [found] if found else []
    catalog = None
    if compiled or _is_new(config) or not use_cache:
        ingestion = CatalogExampleGen(
            config_json=config.ingest.to_json() if compiled else config.ingest.for_catalog().to_json(),
            # The files of a run that is yet to come cannot be looked at; it is told apart by its date.
            fingerprint=given(DATA_VERSION) if compiled else catalog_fingerprint(config.ingest),
            date=given(DATE),
            overrides=given("ingest"),
        )
        catalog = ingestion.outputs["examples"]
        nodes += [ingestion, *checking_steps(config, compiled, catalog)]
    index = IndexBuilder(
        model=baselines.output(found, baselines.MODEL),
        examples=examples,
        catalog=catalog,
        config_json=config.index.to_json(),
        ledger=known.ledger,
        overrides=given("index"),
    )
    # Not for its outputs: a catalog that the schema gate refuses is not indexed.
    index.add_upstream_nodes(nodes[-1:])
    return assemble(
        config, [*nodes, index, *pushing_steps(config, compiled, index, examples, catalog)], use_cache, compiled
    )


def _is_new(config: PipelineConfig) -> bool:
    """Whether the catalog is another one than that which the model was trained with that was blessed last.

    Raises:
      InputError: no model has been blessed yet.
    """
    sources = metadata.sources_of_last_blessed(config.metadata_path, config.name)
    if sources is None:
        raise InputError(NOTHING_BLESSED)
    known = sources["examples"].properties.get(CATALOG_FINGERPRINT)
    return bool(known != catalog_fingerprint(config.ingest))


class CreatePipeline(Protocol):
    """A function that puts a pipeline together."""

    def __call__(self, config: PipelineConfig, use_cache: bool = True, compiled: bool = False) -> Pipeline:
        """The pipeline; for the arguments see `create_pipeline`."""


CREATE: Final[Mapping[metadata.Kind, CreatePipeline]] = {
    "run": create_pipeline,
    "refresh": create_refresh_pipeline,
}
