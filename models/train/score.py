"""Scores the built-in networks on the evaluation data. Nothing here is ever trained on.

    python3 score.py --models ../builtin --data ../../../shared/data
"""

import argparse
from pathlib import Path

import cv2
import numpy as np
import onnxruntime

OPEN_AT = 0.13  # lid gap over eye width from which an eye counts as open


def session(path):
    """An ONNX Runtime session on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(str(path), options)


def auc(positive, negative):
    """Chance that a positive scores above a negative; ties count half."""
    p, n = np.asarray(positive)[:, None], np.asarray(negative)[None]
    return float((p > n).mean() + 0.5 * (p == n).mean())


def square(image, size):
    """The middle square of a grey picture as floats 0 to 1."""
    h, w = image.shape
    s = min(h, w)
    y, x = (h - s) // 2, (w - s) // 2
    small = cv2.resize(image[y : y + s, x : x + s], (size, size), interpolation=cv2.INTER_AREA)
    return small.astype(np.float32)[None, None] / 255


def eyes(models, data):
    """Open against closed eyes on `eyes/`."""
    net = session(models / "eye_state.onnx")
    found = {}
    for name in ("Open", "Closed"):
        rows = []
        for path in sorted((data / "eyes" / name).iterdir()):
            image = cv2.imread(str(path), 0)
            if image is None:
                continue
            opening, seen, _ = net.run(None, {"eye": square(image, 64)})
            rows.append([opening[0, 0], seen[0, 0]])
        found[name] = np.array(rows)
    o, c = found["Open"], found["Closed"]
    print(f"eyes: {len(o)} open, {len(c)} closed")
    print(f"  AUC of the opening alone: {auc(o[:, 0], c[:, 0]):.4f}")
    print(f"  balanced accuracy at {OPEN_AT}: "
          f"{((o[:, 0] > OPEN_AT).mean() + (c[:, 0] <= OPEN_AT).mean()) / 2:.4f} "
          f"(open found {(o[:, 0] > OPEN_AT).mean():.3f}, closed found {(c[:, 0] <= OPEN_AT).mean():.3f})")
    print(f"  opening, quartiles: open {np.percentile(o[:, 0], [25, 50, 75]).round(3)}, "
          f"closed {np.percentile(c[:, 0], [25, 50, 75]).round(3)}")
    for at in (0.3, 0.5, 0.7):
        so, sc = o[:, 1] >= at, c[:, 1] >= at
        if so.any() and sc.any():
            print(f"  seen >= {at}: {so.mean():.3f} of open, {sc.mean():.3f} of closed; "
                  f"AUC among them {auc(o[so, 0], c[sc, 0]):.4f}")


SCORES = {"eye_state.onnx": eyes}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    a = parser.parse_args()
    for name, score in SCORES.items():
        if (a.models / name).exists():
            score(a.models, a.data)


if __name__ == "__main__":
    main()
