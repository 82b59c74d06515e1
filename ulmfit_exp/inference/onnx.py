"""A finished run as a folder for ONNX Runtime: `model.onnx`, its vocabulary, and the settings of its tokenizer.

The graph is built node by node, since torch's exporter fixes the length of texts that an LSTM reads. It does without
the chunks of BPT3C: these pass on the hidden state, so that one pass over the whole text gives the same states.
"""

import shutil
from pathlib import Path

import numpy as np
import torch
from fastai.text.all import defaults
from onnx import TensorProto, checker, helper, numpy_helper, save
from torch import nn

from ..common import DataError, check_export_folder, write_json
from ..method.encoder import FeaturesHead
from ..method.tokenizer import LONGEST_WORD, PAD_ID, PIECE, TOKENIZER, UNSPACED, UNSPACED_CHARACTER
from .predict import Predictor

OPSET = 17
GATES = [0, 3, 1, 2]
"""Order of an LSTM's gates: input, output, forget, cell in ONNX; input, forget, cell, output in torch."""


class Graph:
    """Nodes and constants of an ONNX graph; every value has a unique name."""

    def __init__(self):
        self.nodes, self.constants = [], []

    def constant(self, value) -> str:
        array = value.detach().cpu().numpy() if isinstance(value, torch.Tensor) else np.asarray(value)
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(array), f"c{len(self.constants)}"))
        return self.constants[-1].name

    def __call__(self, op: str, *inputs, outputs: int = 1, **attributes):
        """Add a node; return the name of its output, or a list of names. Inputs that are not names become constants."""
        names = [x if isinstance(x, str) else self.constant(x) for x in inputs]
        out = [f"v{len(self.nodes)}_{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(op, names, out, **attributes))
        return out[0] if outputs == 1 else out


def model(predictor: Predictor):
    """Build the ONNX model: token ids `texts x tokens`, padded at the end with 1 -> probabilities `texts x classes`."""
    g = Graph()
    real = g("Cast", g("Not", g("Equal", "ids", np.int64(PAD_ID))), to=TensorProto.INT64)
    lengths = g("ReduceSum", real, [1], keepdims=0)
    turned = g("ReverseSequence", "ids", lengths, batch_axis=0, time_axis=1)
    total, squashed = np.zeros(1), "Sigmoid" if predictor.multi_label else "Softmax"
    for direction, part in predictor.models.items():
        logits = _logits(g, part, turned if direction == "backward" else "ids", lengths)
        total = g("Add", total, g(squashed, g("Cast", logits, to=TensorProto.DOUBLE)))
    mean = g("Max", g("Div", total, np.float64(len(predictor.models))), np.float64(1e-30))
    logits = g("Log", mean)
    if predictor.multi_label:
        logits = g("Sub", logits, g("Log", g("Max", g("Sub", np.float64(1), mean), np.float64(1e-30))))
    g(squashed, g("Div", logits, np.float64(predictor.temperature)))
    ids = helper.make_tensor_value_info("ids", TensorProto.INT64, ["texts", "tokens"])
    shape = ["texts", len(predictor.classes)]
    probabilities = helper.make_tensor_value_info(g.nodes[-1].output[0], TensorProto.DOUBLE, shape)
    graph = helper.make_graph(g.nodes, "ulmfit", [ids], [probabilities], g.constants)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)
    checker.check_model(made)
    return made


def _logits(g: Graph, part: nn.Module, ids: str, lengths: str) -> str:
    """Add the classifier of one direction to the graph, and return the name of its logits."""
    encoder, head = part
    states = g("Transpose", g("Gather", encoder.module.encoder.weight, ids), perm=[1, 0, 2])
    steps = g("Cast", lengths, to=TensorProto.INT32)
    for rnn in encoder.module.rnns:
        lstm = rnn.module
        bias = torch.cat([_gates(lstm.bias_ih_l0), _gates(lstm.bias_hh_l0)])[None]
        weights = (_gates(lstm.weight_ih_l0)[None], _gates(rnn.weight_hh_l0_raw)[None], bias)
        every, last, _ = g("LSTM", states, *weights, steps, outputs=3, hidden_size=lstm.hidden_size)
        states = g("Squeeze", every, [1])
    x = _pooled(g, states, last, lengths, encoder.max_len, head.pooling)
    for layer in head.layers.modules():
        if isinstance(layer, FeaturesHead):
            x = g("Div", g("Sub", x, layer.mean), layer.scale)
            if layer.by_part:
                parts = g("Reshape", x, np.array([0, layer.parts, -1]))
                squares = g("ReduceMean", g("Mul", parts, parts), axes=[2])
                size = g("Sqrt", g("Max", squares, np.float32(1e-24)))
                x = g("Reshape", g("Div", parts, size), np.array([0, -1]))
        elif isinstance(layer, nn.BatchNorm1d):
            scale = layer.weight / (layer.running_var + layer.eps).sqrt()
            x = g("Add", g("Mul", x, scale), layer.bias - layer.running_mean * scale)
        elif isinstance(layer, nn.Linear):
            bias = torch.zeros(layer.out_features) if layer.bias is None else layer.bias
            x = g("Gemm", x, layer.weight, bias, transB=1)
        elif isinstance(layer, nn.ReLU):
            x = g("Relu", x)
    return x


def _pooled(g: Graph, states: str, last: str, lengths: str, max_len: int, pooling: tuple[str, ...]) -> str:
    """Pool states `tokens x texts x width` -> `texts x parts * width`, over the last `max_len` tokens of each text."""
    place = g("Range", np.int64(0), g("Gather", g("Shape", states), np.int64(0)), np.int64(1))
    place = g("Unsqueeze", place, [1])
    late, early = g("GreaterOrEqual", place, lengths), g("Less", place, g("Sub", lengths, np.int64(max_len)))
    outside = g("Unsqueeze", g("Or", late, early), [2])
    count = g("Cast", g("Min", lengths, np.int64(max_len)), to=TensorProto.FLOAT)
    total = g("ReduceSum", g("Where", outside, np.float32(0), states), [0], keepdims=0)
    parts = {
        "last": g("Squeeze", last, [0]),
        "max": g("ReduceMax", g("Where", outside, np.float32(-np.inf), states), axes=[0], keepdims=0),
        "mean": g("Div", total, g("Unsqueeze", count, [1])),
    }
    if unknown := set(pooling) - set(parts):
        raise DataError(f"--onnx has no pooling {', '.join(unknown)}: add it to `_pooled` in inference/onnx.py")
    return g("Concat", *(parts[part] for part in pooling), axis=1)


def _gates(weight: torch.Tensor) -> torch.Tensor:
    """Return an LSTM's weights or biases with the gates in ONNX's order."""
    return weight.detach().reshape(4, -1, *weight.shape[1:])[GATES].reshape(weight.shape)


def write(predictor: Predictor, out: Path) -> None:
    """Write `model.onnx`, `settings.json` with words, classes and tokenizer, and `predict.py`, which needs no torch."""
    check_export_folder(out, "model.onnx", "--onnx")
    out.mkdir(parents=True, exist_ok=True)
    save(model(predictor), out / "model.onnx")
    lang = predictor.recipe.lang
    settings = {
        "classes": predictor.classes,
        "thresholds": predictor.thresholds.tolist() if predictor.multi_label else None,
        "spacy": TOKENIZER["spacy"],
        "lang": "xx" if lang in UNSPACED else lang,
        "characters": UNSPACED_CHARACTER.pattern if lang in UNSPACED else None,
        "special": defaults.text_spec_tok,
        "longest_word": LONGEST_WORD,
        "piece": PIECE,
        "vocab": predictor.vocab,
    }
    write_json(out / "settings.json", settings)
    shutil.copyfile(Path(__file__).with_name("onnx_predict.py"), out / "predict.py")
