from pathlib import Path

import pytest
import tensorflow as tf
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow_serving.apis import get_model_metadata_pb2, get_model_status_pb2, model_pb2, predict_pb2

from serving.protos import generate
from souk_client.protos import example_pb2, model_service_pb2, prediction_service_pb2, tensor_pb2

OURS_AND_THEIRS = [
    (tensor_pb2.TensorProto, tf.make_tensor_proto(0).__class__),
    (example_pb2.Example, tf.train.Example),
    (prediction_service_pb2.ModelSpec, model_pb2.ModelSpec),
    (prediction_service_pb2.PredictRequest, predict_pb2.PredictRequest),
    (prediction_service_pb2.PredictResponse, predict_pb2.PredictResponse),
    (prediction_service_pb2.SignatureDef, meta_graph_pb2.SignatureDef),
    (prediction_service_pb2.SignatureDefMap, get_model_metadata_pb2.SignatureDefMap),
    (prediction_service_pb2.GetModelMetadataRequest, get_model_metadata_pb2.GetModelMetadataRequest),
    (prediction_service_pb2.GetModelMetadataResponse, get_model_metadata_pb2.GetModelMetadataResponse),
    (model_service_pb2.GetModelStatusRequest, get_model_status_pb2.GetModelStatusRequest),
    (model_service_pb2.GetModelStatusResponse, get_model_status_pb2.GetModelStatusResponse),
]
PAIRS = pytest.mark.parametrize(("ours", "theirs"), OURS_AND_THEIRS, ids=lambda c: c.__module__.split("_pb2")[0])

# An enum and an int32 are the same bytes.
WIRE_TYPE = {FieldDescriptor.TYPE_ENUM: FieldDescriptor.TYPE_INT32}


def filled(message: Message, depth: int = 0) -> Message:
    """`message` with a value in every field, two in every repeated one."""
    for field in message.DESCRIPTOR.fields:
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            value = field.message_type.fields_by_name["value"]
            entries = getattr(message, field.name)
            for key in ("a", "é"):
                filled(entries[key], depth + 1) if value.message_type else entries.update({key: scalar(value)})
        elif field.message_type is not None:
            target = getattr(message, field.name)
            if field.label == FieldDescriptor.LABEL_REPEATED:
                filled(target.add(), depth + 1)
                filled(target.add(), depth + 1)
            else:
                filled(target, depth + 1)
                target.SetInParent()
        elif field.label == FieldDescriptor.LABEL_REPEATED:
            getattr(message, field.name).extend([scalar(field), scalar(field)])
        else:
            setattr(message, field.name, scalar(field))
    return message


def scalar(field: FieldDescriptor) -> object:
    if field.type == FieldDescriptor.TYPE_ENUM:
        return field.enum_type.values[-1].number
    return {
        FieldDescriptor.CPPTYPE_STRING: b"\xff\x00" if field.type == FieldDescriptor.TYPE_BYTES else "crème",
        FieldDescriptor.CPPTYPE_FLOAT: -1.5,
        FieldDescriptor.CPPTYPE_DOUBLE: 2.25,
        FieldDescriptor.CPPTYPE_INT32: -7,
        FieldDescriptor.CPPTYPE_INT64: 2**62,
        FieldDescriptor.CPPTYPE_BOOL: True,
    }[field.cpp_type]


def differences(ours: Descriptor, theirs: Descriptor) -> list[str]:
    """Fields of `ours` that `theirs` lacks or writes in another way, at any depth."""
    found = []
    for field in ours.fields:
        other = theirs.fields_by_name.get(field.name)
        if other is None:
            found.append(f"{ours.full_name}.{field.name} is not in {theirs.full_name}")
            continue
        mine, its = ((f.number, WIRE_TYPE.get(f.type, f.type), f.label) for f in (field, other))
        if mine != its:
            found.append(f"{ours.full_name}.{field.name}: {mine} is not {its}")
        if (field.containing_oneof is None) != (other.containing_oneof is None):
            found.append(f"{ours.full_name}.{field.name}: in a oneof here only or there only")
        if field.message_type is not None:
            found += differences(field.message_type, other.message_type)
        if field.enum_type is not None:
            numbers = {value.name: value.number for value in other.enum_type.values}
            found += [
                f"{field.enum_type.full_name}.{value.name}"
                for value in field.enum_type.values
                if numbers.get(value.name) != value.number
            ]
    return found


@PAIRS
def test_every_field_has_tensorflows_number_type_and_label(ours: type[Message], theirs: type[Message]):
    assert differences(ours.DESCRIPTOR, theirs.DESCRIPTOR) == []


@PAIRS
def test_a_message_survives_the_way_through_tensorflows_type(ours: type[Message], theirs: type[Message]):
    message = filled(ours())
    there = theirs.FromString(message.SerializeToString())
    assert not unknown_fields(there)
    assert ours.FromString(there.SerializeToString()) == message


def unknown_fields(message: Message) -> bool:
    copy = message.__class__()
    copy.CopyFrom(message)
    copy.DiscardUnknownFields()
    return copy.ByteSize() != message.ByteSize()


def test_tensorflow_reads_our_example():
    ours = example_pb2.Example()
    ours.features.feature["query"].bytes_list.value.append("crème".encode())
    ours.features.feature["price"].float_list.value.extend([1.5, 2.0])
    ours.features.feature["stages"].int64_list.value.append(3)
    parsed = tf.io.parse_example(
        [ours.SerializeToString()],
        {
            "query": tf.io.FixedLenFeature([], tf.string),
            "price": tf.io.RaggedFeature(tf.float32),
            "stages": tf.io.RaggedFeature(tf.int64),
        },
    )
    assert parsed["query"].numpy().tolist() == ["crème".encode()]
    assert parsed["price"].to_list() == [[1.5, 2.0]]
    assert parsed["stages"].to_list() == [[3]]


def test_the_committed_modules_are_what_the_compiler_writes_now(tmp_path: Path):
    pytest.importorskip("grpc_tools", reason="grpcio-tools is in the development environment only")
    for written in generate.generate(tmp_path):
        committed = generate.ROOT / written.relative_to(tmp_path)
        assert committed.read_text() == written.read_text(), f"{committed.name}: run python -m serving.protos.generate"
