import tensorflow as tf

from evaluation.eval_set import parse_catalog
from evaluation.index_recall import _indexed
from tests.evaluation.small_world import bytes_feature, catalog_example


def chair(item_id, color):
    example = tf.train.Example.FromString(catalog_example(0))
    example.features.feature["item_id"].CopyFrom(bytes_feature([item_id]))
    example.features.feature["categorical_color"].CopyFrom(bytes_feature([color]))
    return example.SerializeToString()


def test_items_that_differ_in_a_further_column_are_not_one():
    """As the index builder sees it: of those that are alike in every column it keeps the first by id."""
    catalog = parse_catalog([[chair("c", "red"), chair("a", "green"), chair("b", "red")]])
    assert catalog.further == ("categorical_color",)
    assert _indexed(2, catalog).tolist() == [False, True, True]
