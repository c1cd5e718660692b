"""A training step reads rows of the embedding tables and never a table whole, which would copy it at each step."""

from collections.abc import Iterator

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.framework.graph_pb2 import GraphDef
from tensorflow.core.framework.node_def_pb2 import NodeDef
from tensorflow.python.eager import context

from schema import features
from tests.trainer.test_models import CONFIGS, SIZES, make_query, make_table
from trainer import artifact
from trainer.input import PAGE_STAGES, SHOWN_ITEMS, SearchReader
from trainer.models import InputSizes
from trainer.optimizer import SMALL, make_optimizer
from trainer.retrieval import RetrievalModel

MANY = 2 * SMALL
LARGE = InputSizes(MANY, MANY, MANY, MANY, MANY, MANY, MANY, MANY, dict.fromkeys(SIZES.profile, MANY), SIZES.columns)


def nodes(graph: GraphDef) -> Iterator[NodeDef]:
    yield from graph.node
    for function in graph.library.function:
        yield from function.node_def


@pytest.mark.usefixtures("optimized_graphs")
@pytest.mark.parametrize("name", ["two_tower", "dpsr 3 heads", "mgdspr", "mmse"])
def test_a_training_step_reads_no_table_whole(name):
    config = CONFIGS[name].model_copy(update={"batch_size": 4})
    reader, table = SearchReader(config, tuple(SIZES.profile)), make_table()
    towers = artifact.make_towers(config, LARGE)
    artifact.build(towers, reader, table)
    counts, subwords = np.ones(table.size + 1, np.int64), np.ones((MANY + 1, 2), np.int32)
    model = RetrievalModel(towers, config, table, counts, subwords)
    model.compile(optimizer=make_optimizer(config.optimizer))
    model.optimizer.build(model.trainable_variables)
    batch = make_query(reader)
    batch[features.ITEMS] = tf.constant([[1, 2], [3, 0], [4, 0]])
    batch[features.STAGES] = tf.constant([[2, 3], [2, 0], [2, 0]])
    if config.loss.ranking_weight:
        batch[PAGE_STAGES], batch[SHOWN_ITEMS] = batch[features.STAGES], tf.constant([[5], [6], [0]])
    step = tf.function(model.train_step).get_concrete_function(batch)
    context.enable_run_metadata()
    step(batch)
    graphs = context.export_run_metadata().partition_graphs
    context.disable_run_metadata()

    rows = {id(variable.handle): variable.shape[0] for variable in step.graph.variables if variable.shape.rank}
    outside = {id(inside): id(captured) for captured, inside in step.graph.captures}
    rows_of_resource = {
        node.name: rows.get(outside.get(id(step.graph.inputs[node.attr["index"].i])), 0)
        for graph in graphs
        for node in graph.node
        if node.op == "_Arg"
    }
    reads, gathered = (
        {node.input[0] for graph in graphs for node in nodes(graph) if node.op == op}
        for op in ("ReadVariableOp", "ResourceGather")
    )
    assert reads
    assert {resource for resource in reads if rows_of_resource[resource] > MANY} == set()
    assert MANY + 1 in {rows_of_resource[resource] for resource in gathered}
