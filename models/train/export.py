"""Writes a trained network as ONNX: fixed shape, batch 1, opset 17, and checks it with ONNX Runtime.

    python3 export.py --net eye --weights eye.pt --out ../builtin/eye_state.onnx
"""

import argparse
import time
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch

from networks import NETWORKS


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--net", choices=NETWORKS, required=True)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    a = parser.parse_args()
    net = NETWORKS[a.net]()
    net.load_state_dict(torch.load(a.weights, weights_only=True))
    net.eval()
    x = torch.rand(1, 1, net.SIZE, net.SIZE)
    torch.onnx.export(net, x, str(a.out), input_names=[net.INPUT], output_names=list(net.OUTPUTS),
                      opset_version=17, dynamo=False)
    onnx.checker.check_model(onnx.load(a.out), full_check=True)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(a.out), options)
    got = session.run(None, {net.INPUT: x.numpy()})
    with torch.no_grad():
        want = net(x)
    worst = max(float(np.abs(g - w.numpy()).max()) for g, w in zip(got, want))
    assert worst < 1e-3, f"{a.out}: differs from the trained network by {worst}"
    times = []
    for _ in range(200):
        began = time.perf_counter()
        session.run(None, {net.INPUT: x.numpy()})
        times.append(time.perf_counter() - began)
    size = a.out.stat().st_size
    print(f"{a.out.name}: {size} bytes, {1000 * np.median(times):.2f} ms (median of 200, one thread), "
          f"differs by {worst:.1e}; outputs "
          + ", ".join(f"{o.name} {o.shape}" for o in session.get_outputs()))


if __name__ == "__main__":
    main()
