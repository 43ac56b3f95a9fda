"""ONNX Runtime on the CPU, one node: python onnxruntime_peer.py [WORKLOAD [CELL]]; RAYON_NUM_THREADS sets its threads."""

import numpy
import onnx
import onnxruntime

from workloads import measure, threads, wanted

GATES = {"rnn": 1, "lstm": 4, "gru": 3}

for workload in wanted():
    _, cell, inputs, hidden, steps, batch = workload
    rng = numpy.random.default_rng(1)
    rows = GATES[cell] * hidden

    def weight(*shape):
        return (rng.uniform(-1, 1, shape) / hidden**0.5).astype(numpy.float32)

    weights = {"W": weight(1, rows, inputs), "R": weight(1, rows, hidden), "B": weight(1, 2 * rows)}
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
    feed = {"X": rng.standard_normal(shape["X"]).astype(numpy.float32)}
    measure("onnxruntime", workload, "infer", lambda: session.run(None, feed))
