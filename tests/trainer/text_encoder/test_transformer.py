"""The Transformer in NumPy, against plain loops over lists of numbers."""

import math

import pytest

from tests.trainer.text_encoder import tiny_encoders
from tests.trainer.text_encoder.tiny_encoders import DIM, HEADS, IDS, LAYERS
from trainer.text_encoder import load_encoder

EPSILON = {"distilbert": 1e-12}
ACTIVATIONS = {
    "gelu": lambda x: 0.5 * x * (1 + math.erf(x / math.sqrt(2))),
    "gelu_new": lambda x: 0.5 * x * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
    "relu": lambda x: max(x, 0.0),
}


class Oracle:
    """BERT, one token and one number at a time."""

    def __init__(self, tensors, activation, first_position=0, epsilon=1e-5):
        self.tensors = {name: tensor.tolist() for name, tensor in tensors.items()}
        self.activation, self.first_position, self.epsilon = ACTIVATIONS[activation], first_position, epsilon

    def mean(self, ids):
        hidden = [self.norm(self.embedding(token, place), "embeddings.LayerNorm") for place, token in enumerate(ids)]
        for layer in range(LAYERS):
            hidden = self.layer(hidden, f"encoder.layer.{layer}.")
        return [sum(vector[d] for vector in hidden) / len(hidden) for d in range(DIM)]

    def embedding(self, token, place):
        rows = (
            self.tensors["embeddings.word_embeddings.weight"][token],
            self.tensors["embeddings.position_embeddings.weight"][self.first_position + place],
            self.tensors["embeddings.token_type_embeddings.weight"][0],
        )
        return [sum(parts) for parts in zip(*rows, strict=True)]

    def layer(self, hidden, name):
        query, key, value = (
            [self.dense(vector, f"{name}attention.self.{part}") for vector in hidden]
            for part in ("query", "key", "value")
        )
        after = []
        for vector, asked in zip(hidden, query, strict=True):
            attended = self.dense(self.attend(asked, key, value), f"{name}attention.output.dense")
            vector = self.norm(added(vector, attended), f"{name}attention.output.LayerNorm")
            inner = [self.activation(x) for x in self.dense(vector, f"{name}intermediate.dense")]
            after.append(self.norm(added(vector, self.dense(inner, f"{name}output.dense")), f"{name}output.LayerNorm"))
        return after

    def attend(self, query, keys, values):
        width, attended = DIM // HEADS, []
        for start in range(0, DIM, width):
            part = slice(start, start + width)
            scores = [math.exp(dot(query[part], key[part]) / math.sqrt(width)) for key in keys]
            for d in range(start, start + width):
                attended.append(dot(scores, [value[d] for value in values]) / sum(scores))
        return attended

    def dense(self, vector, name):
        rows, bias = self.tensors[f"{name}.weight"], self.tensors[f"{name}.bias"]
        return [dot(row, vector) + shift for row, shift in zip(rows, bias, strict=True)]

    def norm(self, vector, name):
        mean = sum(vector) / DIM
        deviation = math.sqrt(sum((x - mean) ** 2 for x in vector) / DIM + self.epsilon)
        scale, shift = self.tensors[f"{name}.weight"], self.tensors[f"{name}.bias"]
        return [(x - mean) / deviation * a + b for x, a, b in zip(vector, scale, shift, strict=True)]


def dot(a, b):
    return sum(x * y for x, y in zip(a, b, strict=True))


def added(a, b):
    return [x + y for x, y in zip(a, b, strict=True)]


@pytest.mark.parametrize(
    ("kind", "activation", "prefix"),
    [
        ("bert", "gelu", ""),
        ("bert", "gelu_new", "bert."),
        ("bert", "relu", ""),
        ("roberta", "gelu", "roberta."),
        ("xlm-roberta", "gelu", ""),
        ("distilbert", "gelu", "distilbert."),
    ],
)
def test_texts_are_encoded_as_by_plain_loops(kind, activation, prefix, tmp_path):
    tensors = tiny_encoders.write_bert(tmp_path, kind, activation, prefix)
    # After the padding's id, which is 0.
    first_position = 1 if "roberta" in kind else 0
    oracle = Oracle(tensors, activation, first_position, EPSILON.get(kind, 1e-5))
    texts = {"red laptops": "red lap ##top ##s", "Tea": "tea", "an ssd": "[UNK] ssd", "": ""}
    found = load_encoder(str(tmp_path)).encode(list(texts))
    for vector, tokens in zip(found, texts.values(), strict=True):
        expected = oracle.mean([IDS[token] for token in ["[CLS]", *tokens.split(), "[SEP]"]])
        assert vector.tolist() == pytest.approx(expected, abs=2e-5)
