"""Encoders in ONNX files, run by onnxruntime."""

import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from schema.settings import InputError
from trainer.text_encoder.folder import EncoderFolder, not_installed

_INPUTS = ("input_ids", "attention_mask", "token_type_ids")
_TYPES = {"tensor(int64)": np.int64, "tensor(int32)": np.int32}


@dataclass(frozen=True)
class OnnxModel:
    """Callable as a `TokenModel`; with `pooled`, its vectors are [batch, dim], of texts.

    Attributes:
      session: of onnxruntime.
      output: the name of the output that is read.
      pooled: whether the model does the pooling itself.
    """

    session: Any
    output: str
    pooled: bool

    def __call__(self, ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """Vectors [batch, tokens, dim] of ids [batch, tokens], padded where `mask` is false."""
        values = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        feeds = {given.name: values[given.name].astype(_TYPES[given.type]) for given in self.session.get_inputs()}
        return self.session.run([self.output], feeds)[0].astype(np.float32)


def read_onnx(folder: EncoderFolder, name: str) -> OnnxModel:
    """The model in an ONNX file; weights that lie in a file beside it are read, too.

    Raises:
      InputError: where it cannot be loaded, or is no encoder of tokens; where onnxruntime is not installed.
    """
    try:
        import onnxruntime
    except ModuleNotFoundError as error:
        raise not_installed(error) from None
    options = onnxruntime.SessionOptions()
    # Fatal errors alone: the rest is raised, or is advice on the graph.
    options.log_severity_level = 4
    # Threads that wait would else keep processors busy that the training shares with others.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        session = _session(onnxruntime, folder, name, options)
    except InputError:
        raise
    except Exception as error:
        # onnxruntime's errors have no base class of their own.
        said = " ".join(str(error).split())
        raise InputError(
            f"{folder.at(name)} is truncated, or no ONNX file that onnxruntime {onnxruntime.__version__} runs "
            f"({said}): download it anew"
        ) from None
    unknown = [given.name for given in session.get_inputs() if given.name not in _INPUTS or given.type not in _TYPES]
    if unknown:
        raise InputError(
            f"{folder.at(name)} has the inputs {', '.join(unknown)}; Souk runs encoders whose inputs are integers "
            f"among {', '.join(_INPUTS)}"
        )
    return _reading_tokens(session, folder.at(name))


def _session(onnxruntime: Any, folder: EncoderFolder, name: str, options: Any) -> Any:
    providers = ["CPUExecutionProvider"]
    inner, _, file = name.rpartition("/")
    # Where a model is over 2 GB, its weights are in a file with a name like these.
    beside = [other for other in folder.names(inner) if other in (f"{file}_data", f"{file}.data")]
    if not beside:
        return onnxruntime.InferenceSession(folder.read(name), options, providers=providers)
    with tempfile.TemporaryDirectory() as copy:
        for other in (file, *beside):
            with open(os.path.join(copy, other), "wb") as target:
                target.write(folder.read(f"{inner}/{other}" if inner else other))
        return onnxruntime.InferenceSession(os.path.join(copy, file), options, providers=providers)


def _reading_tokens(session: Any, source: str) -> OnnxModel:
    """Reads what has a vector for each token, else what has one for each text."""
    outputs: Sequence[Any] = session.get_outputs()
    # A model that classifies texts, or scores pairs of them, has these.
    vectors = [output for output in outputs if output.name != "logits" and output.type.startswith("tensor(float")]
    for axes in (3, 2):
        for output in vectors:
            if len(output.shape or ()) == axes:
                return OnnxModel(session, output.name, pooled=axes == 2)
    shapes = ", ".join(f"{output.name} {output.shape}" for output in outputs)
    raise InputError(
        f"{source} has no output with a vector for each token, [batch, tokens, dim], or each text, [batch, dim]; "
        f"it has {shapes}"
    )
