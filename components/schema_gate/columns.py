"""What the schema says of the shop's own columns, whose features the configuration names."""

from collections.abc import Iterable
from typing import Final

from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2

from components.schema_gate.gate import parse_schema
from schema import features

# Changes of a feature between two runs from which on it has drifted, as those of `brand` and of `price` in souk.pbtxt.
_VALUE_DRIFT: Final = 0.1
_NUMBER_DRIFT: Final = 0.2


def with_columns(text: str, names: Iterable[str]) -> str:
    """A schema that knows the columns' features.

    Args:
      text: the schema, as `gate.read_schema` gives it.
      names: of features; one that the schema declares stays as declared.
    """
    known = {feature.name for feature in parse_schema(text, "the schema").feature}
    declared = [column_feature(name) for name in names if name not in known]
    more = schema_pb2.Schema(feature=[feature for feature in declared if feature is not None])
    return f"{text}\n{text_format.MessageToString(more)}" if more.feature else text


def column_feature(name: str) -> schema_pb2.Feature | None:
    """An optional feature of a column of profiles or of the catalog, told by its name; None for any other name."""
    if name.startswith(features.PROFILE_PREFIX):
        feature = _feature(name, schema_pb2.BYTES, features.CATALOG_ENVIRONMENT)
        feature.drift_comparator.infinity_norm.threshold = _VALUE_DRIFT
    elif name.startswith(features.TEXT_PREFIX):
        return _feature(name, schema_pb2.BYTES, features.SEARCH_ENVIRONMENT)
    elif name.startswith(features.CATEGORICAL_PREFIX):
        feature = _feature(name, schema_pb2.BYTES, features.SEARCH_ENVIRONMENT)
        feature.value_count.ClearField("max")
        feature.drift_comparator.infinity_norm.threshold = _VALUE_DRIFT
    elif name.startswith(features.NUMERIC_PREFIX):
        feature = _feature(name, schema_pb2.FLOAT, features.SEARCH_ENVIRONMENT)
        feature.float_domain.disallow_nan = feature.float_domain.disallow_inf = True
        feature.drift_comparator.jensen_shannon_divergence.threshold = _NUMBER_DRIFT
    elif name == features.AVAILABLE:
        return _feature(name, schema_pb2.BYTES, features.SEARCH_ENVIRONMENT)
    else:
        return None
    return feature


def _feature(name: str, kind: "schema_pb2.FeatureType", not_in: str) -> schema_pb2.Feature:
    feature = schema_pb2.Feature(name=name, type=kind, not_in_environment=[not_in])
    feature.value_count.min, feature.value_count.max = 0, 1
    return feature
