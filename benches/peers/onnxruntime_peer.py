"""ONNX Runtime on the CPU, one node a layer: python onnxruntime_peer.py [WORKLOAD [CELL [PHASE]]]; RAYON_NUM_THREADS sets its threads."""

import numpy
import onnx
import onnxruntime
from safetensors.numpy import load_file

from workloads import REFERENCE, check, lengths, measure, threads, wanted, workloads

# PyTorch's gates i f g o and r z n in ONNX' order i o f c and z r h.
GATES = {"rnn": [0], "lstm": [0, 3, 1, 2], "gru": [1, 0, 2]}

for workload in workloads() if wanted("infer") else []:
    cell, hidden, directions = workload.cell, workload.hidden, workload.directions
    reference = load_file(REFERENCE / f"{workload.name}_{cell}.safetensors")

    def gates(name):
        rows = reference[name]
        return numpy.concatenate([rows[gate * hidden : (gate + 1) * hidden] for gate in GATES[cell]])

    def of_directions(kind, layer):
        return numpy.stack([gates(f"{kind}_l{layer}{suffix}") for suffix in ["", "_reverse"][:directions]])

    more = {"linear_before_reset": 1} if cell == "gru" else {}
    more |= {"direction": "bidirectional"} if directions == 2 else {}
    steps, batch, width = workload.steps, workload.batch, directions * hidden
    weights, nodes, x = {"shape": numpy.array([steps, batch, width])}, [], "X"
    feed = {"X": reference["x"]}
    if workload.ragged:
        feed["lengths"] = numpy.array(lengths(workload), dtype=numpy.int32)
    for layer in range(workload.layers):
        bias = [of_directions(kind, layer) for kind in ["bias_ih", "bias_hh"]]
        weights |= {
            f"W{layer}": of_directions("weight_ih", layer),
            f"R{layer}": of_directions("weight_hh", layer),
            f"B{layer}": numpy.concatenate(bias, axis=1),
        }
        inputs = [x, f"W{layer}", f"R{layer}", f"B{layer}", *(["lengths"] if workload.ragged else [])]
        y, x = f"Y{layer}", f"X{layer}"
        nodes.append(onnx.helper.make_node(cell.upper(), inputs, [y], hidden_size=hidden, **more))
        # [T, D, B, H] to [T, B, D H].
        nodes.append(onnx.helper.make_node("Transpose", [y], [f"{y}t"], perm=[0, 2, 1, 3]))
        nodes.append(onnx.helper.make_node("Reshape", [f"{y}t", "shape"], [x]))
    types = {"X": (onnx.TensorProto.FLOAT, [steps, batch, workload.inputs]), "lengths": (onnx.TensorProto.INT32, [batch])}
    types[x] = (onnx.TensorProto.FLOAT, [steps, batch, width])
    info = {name: onnx.helper.make_tensor_value_info(name, *ty) for name, ty in types.items()}
    initial = [onnx.numpy_helper.from_array(value, name) for name, value in weights.items()]
    graph = onnx.helper.make_graph(nodes, "peer", [info[name] for name in feed], [info[x]], initial)
    opset = [onnx.helper.make_opsetid("", 14)]
    model = onnx.helper.make_model(graph, opset_imports=opset, ir_version=8)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads()
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)

    def compare(answer):
        check("onnxruntime", workload, "y", answer[0], reference["y"])

    measure("onnxruntime", workload, "infer", lambda: session.run(None, feed), compare)
