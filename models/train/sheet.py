"""A sheet of training samples to look at: a row or more of each kind, as the networks see them.

    python3 sheet.py --shards FOLDER --out ../builtin/examples.png
"""

import argparse
from pathlib import Path

import cv2
import numpy as np

import dataset

TILE, COLUMNS = 84, 14


def tiles(data, indices, text):
    """Samples as BGR tiles with a few words on each."""
    out = []
    for i in indices:
        x, label = data[int(i)]
        tile = cv2.resize((x[0] * 255).astype(np.uint8), (TILE, TILE), interpolation=cv2.INTER_AREA)
        tile = cv2.cvtColor(tile, cv2.COLOR_GRAY2BGR)
        cv2.putText(tile, text(label), (2, 9), cv2.FONT_HERSHEY_SIMPLEX, 0.3, (0, 255, 255), 1)
        out.append(tile)
    return out


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shards", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    a = parser.parse_args()
    rng = np.random.default_rng(5)
    kinds = (
        ("eye", dataset.EyeSet, 3, lambda t: f"{t[0]:.2f}" if t[3] else "not seen"),
        ("face", dataset.FaceSet, 3, lambda t: f"{t[0]:.0f} {t[1]:.0f} {t[2]:.0f}" if t[14] else "no face"),
        ("phone", dataset.PhoneSet, 2, lambda t: ("none", "ear", "view")[int(t[0])]),
    )
    rows = []
    for kind, make, count, text in kinds:
        paths = sorted(a.shards.glob(f"{kind}-*.npz"))[:2]
        if not paths:
            continue
        data = make(*dataset.load(paths), 4)
        found = tiles(data, rng.choice(len(data), count * COLUMNS, replace=False), text)
        rows += [np.hstack(found[k * COLUMNS : (k + 1) * COLUMNS]) for k in range(count)]
    # 32 greys are enough to look at, and make a small file
    sheet = (np.vstack(rows) // 8) * 8
    cv2.imwrite(str(a.out), sheet, [cv2.IMWRITE_PNG_COMPRESSION, 9])


if __name__ == "__main__":
    main()
