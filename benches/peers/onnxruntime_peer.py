"""ONNX Runtime on the CPU, one node: python onnxruntime_peer.py [WORKLOAD [CELL [PHASE]]]; RAYON_NUM_THREADS sets its threads."""

import numpy
import onnx
import onnxruntime
from safetensors.numpy import load_file

from workloads import REFERENCE, check, measure, threads, wanted, workloads

# PyTorch's gates i f g o and r z n in ONNX' order i o f c and z r h.
GATES = {"rnn": [0], "lstm": [0, 3, 1, 2], "gru": [1, 0, 2]}

for workload in workloads() if wanted("infer") else []:
    _, cell, inputs, hidden, steps, batch = workload
    reference = load_file(REFERENCE / f"{workload.name}_{cell}.safetensors")

    def gates(name):
        rows = reference[name]
        return numpy.concatenate([rows[gate * hidden : (gate + 1) * hidden] for gate in GATES[cell]])[None]

    bias = numpy.concatenate([gates("bias_ih_l0"), gates("bias_hh_l0")], axis=1)
    weights = {"W": gates("weight_ih_l0"), "R": gates("weight_hh_l0"), "B": bias}
    more = {"linear_before_reset": 1} if cell == "gru" else {}
    node = onnx.helper.make_node(cell.upper(), ["X", "W", "R", "B"], ["Y"], hidden_size=hidden, **more)
    shape = {"X": [steps, batch, inputs], "Y": [steps, 1, batch, hidden]}
    info = {n: onnx.helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, s) for n, s in shape.items()}
    initial = [onnx.numpy_helper.from_array(value, name) for name, value in weights.items()]
    graph = onnx.helper.make_graph([node], "peer", [info["X"]], [info["Y"]], initial)
    opset = [onnx.helper.make_opsetid("", 14)]
    model = onnx.helper.make_model(graph, opset_imports=opset, ir_version=8)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads()
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)

    def compare(answer):
        check("onnxruntime", workload, "y", answer[0][:, 0], reference["y"])

    measure("onnxruntime", workload, "infer", lambda: session.run(None, {"X": reference["x"]}), compare)
