"""Derives the scale on which both eye networks are read: `agent/src/perception/cabin/eye_scale.rs`.

    python3 scale.py --pack ../../../shared/models --shards FOLDER [--models ../builtin]

MediaPipe's iris network draws a shut eye with a gap of up to 0.17 of its width, and the same gap
into an eye that is half open. So its number is replaced by what is true, in the mean, of rendered
eyes in which it draws that gap: the part of the eyeball seen between the lids, on the scale of
`dataset.CLOSED` and `dataset.PER_GAP`. The project's own network was trained to that scale; what it
says is compared on held-out identities alone. Nothing of the evaluation data is looked at.

Eyes are placed as a unit places them, with the light and the camera of training (`plain`). Needs
`iris_landmark.onnx` of the downloaded pack.
"""

import argparse
from pathlib import Path

import numpy as np

import dataset
from score import OPEN_AT, auc, session

KNOTS = np.array([0.04, 0.08, 0.12, 0.16, 0.20, 0.24, 0.28])
SEEN = 0.7  # eye_state.rs, MIN_SEEN
OPEN = 0.16  # eyelids.rs, CLEARLY_OPEN


def drawn_gap(net, grey):
    """Mean gap over width of the outline, as `outline.rs` measures it; not a number if none."""
    rgb = np.repeat(grey[None, ..., None], 3, 3).astype(np.float32)
    points = net.run(["output_eyes_contours_and_brows"], {"input_1": rgb})[0].reshape(-1, 3)[:16, :2]
    across = points[8] - points[0]
    width = np.hypot(*across)
    off = np.hypot(*((points[0] + points[8]) / 2 - 32))
    if not (16 <= width <= 42 and abs(across[1]) / width <= 0.5 and off <= 16):
        return np.nan
    below = ((points[:, 1] - points[0, 1]) * across[0] - (points[:, 0] - points[0, 0]) * across[1])
    gap = (below[1:8] - below[9:16]).mean() * np.sign(across[0]) / width**2
    return max(gap, 0.0) if -0.1 <= gap <= 0.5 else np.nan


def hats(x):
    """What each knot weighs at x, straight between the knots."""
    return np.stack([np.interp(x, KNOTS, row) for row in np.eye(len(KNOTS))], 1)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pack", type=Path, required=True)
    parser.add_argument("--shards", type=Path, required=True)
    parser.add_argument("--models", type=Path, default=Path("../builtin"))
    a = parser.parse_args()
    pack, own = session(a.pack / "iris_landmark.onnx"), session(a.models / "eye_state.onnx")
    cuts, rows = dataset.load(sorted(a.shards.glob("eye-*.npz")))
    data = dataset.EyeSet(cuts, rows, 99, plain=True)
    got = []
    for i in range(len(data)):
        x, label = data[i]
        if label[4] > 0:
            said, seen, _ = own.run(None, {"eye": x[None]})
            # shards hold the right eye, then the left one: positive is towards this eye's side
            turn = rows[i, 6] * (1 if i % 2 == 0 else -1)
            got.append([drawn_gap(pack, x[0]), said[0, 0], seen[0, 0], label[0], turn, rows[i, 7],
                        rows[i, 9], rows[i, 10] % 10 == 0])
    gap, said, seen, truth, turn, pitch, closure, held = np.array(got).T
    held = held > 0
    use = np.isfinite(gap) & (seen >= SEEN)
    slanted = use & (closure >= 0.95) & (turn > -25) & ((pitch < -22) | (turn > 42))
    use &= np.abs(pitch) < 25

    print("gap as drawn into open eyes (true 0.20 to 0.27), by the turn that brings the eye nearer:")
    for low in range(-45, 50, 10):
        m = use & (turn >= low) & (turn < low + 10) & (truth > 0.20) & (truth < 0.27)
        if m.sum() >= 10:
            print(f"  {low:4} to {low + 10:3} degrees: {np.median(gap[m]):.3f} of {m.sum()}")
    # the far eye's corner hides, so that its outline is too narrow; the near eye's keeps its width
    gap = gap * np.cos(np.radians(np.minimum(turn, 0)))
    use &= (turn > -25) & (turn < 50)

    means = np.maximum.accumulate(np.linalg.lstsq(hats(gap[use]), truth[use], rcond=None)[0])
    print(f"eye_scale.rs, DRAWN: {KNOTS.tolist()}\neye_scale.rs, MEANS: {means.round(3).tolist()}"
          f" of {use.sum()} eyes")
    check = use & held
    own_means = np.linalg.lstsq(hats(said[check]), truth[check], rcond=None)[0]
    print(f"the own network at the same places: {own_means.round(3).tolist()} of {check.sum()}")
    brought = np.interp(gap, KNOTS, means)
    apart = brought - said
    both = ((brought + said) / 2)[slanted]
    print(f"eyelids.rs, CLEARLY_OPEN: of {slanted.sum()} shut eyes of bowed or far turned heads "
          f"{(both >= OPEN).sum()} read {OPEN} and more; the most is {both.max():.3f}")
    print(f"eyelids.rs: pack less own network: mean {apart[check].mean():.3f}, deviation "
          f"{apart[check].std():.3f}, 95 % within {np.percentile(np.abs(apart[check]), 95):.3f}")
    for name, value in (("pack", brought), ("own", said), ("mean", (brought + said) / 2)):
        shut, part, wide = (check & m for m in (closure >= 0.8, closure < 0.5, closure < 0.2))
        print(f"{name:4}: error {np.abs(value - truth)[check].mean():.3f}; below {OPEN_AT}: "
              f"{(value[shut] < OPEN_AT).mean():.3f} of {shut.sum()} eyes 80 % shut and more, "
              f"{(value[part] < OPEN_AT).mean():.3f} of {part.sum()} less than half shut, "
              f"{(value[wide] < OPEN_AT).mean():.3f} of open ones; AUC {auc(value[wide], value[shut]):.4f}")


if __name__ == "__main__":
    main()
