"""Measures the built-in networks: on held-out rendered people, and on the evaluation data.

    python3 score.py --models ../builtin [--shards FOLDER] [--data ../../../shared/data]
                     [--pack ../../../shared/models] [--labels ../../tests/data/labels]

Nothing of the evaluation data is ever trained on. `--pack` (YuNet, FSA-Net) finds the faces in the
recordings and gives a second opinion on head pose.
"""

import argparse
import csv
from pathlib import Path

import cv2
import numpy as np
import onnxruntime

import dataset

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


def held_out(kind, shards, seed=99):
    """Samples of held-out identities, spoiled as in training: pictures and labels."""
    sets = dict(eye=(dataset.EyeSet, 10), face=(dataset.FaceSet, 17), phone=(dataset.PhoneSet, 5))
    make, column = sets[kind]
    cuts, rows = dataset.load(sorted(shards.glob(f"{kind}-*.npz")))
    held = rows[:, column].astype(int) % 10 == 0
    data = make(cuts[held], rows[held], seed)
    return [data[i] for i in range(len(data))]


def eyes_rendered(net, shards):
    """Eye network on held-out rendered people."""
    got, want = [], []
    for x, t in held_out("eye", shards):
        opening, seen, iris = net.run(None, {"eye": x[None]})
        got.append([opening[0, 0], seen[0, 0], *iris[0]])
        want.append(t)
    g, t = np.array(got), np.array(want)
    good = t[:, 4] > 0
    shut, wide = good & (t[:, 0] < 0.06), good & (t[:, 0] > 0.19)
    sure = t[:, 5] > 0.5
    iris = t[:, 6] > 0
    print(f"eye, held-out rendered: {len(t)} crops")
    print(f"  opening: mean error {np.abs(g[good, 0] - t[good, 0]).mean():.3f}; "
          f"AUC open (> 0.19) against shut (< 0.06): {auc(g[wide, 0], g[shut, 0]):.4f}")
    print(f"  seen: AUC {auc(g[sure & (t[:, 3] > 0), 1], g[sure & (t[:, 3] < 1), 1]):.4f}")
    print(f"  iris: mean error {np.linalg.norm(g[iris, 2:] - t[iris, 1:3], axis=1).mean():.3f} eye widths")


def eyes_real(net, data):
    """Open against closed eyes on `eyes/`."""
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
    print(f"eye, real crops: {len(o)} open, {len(c)} closed")
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


def faces_rendered(net, shards):
    """Face network on held-out rendered people."""
    got, want = [], []
    for x, t in held_out("face", shards):
        got.append(np.concatenate([o[0] for o in net.run(None, {"square": x[None]})]))
        want.append(t)
    g, t = np.array(got), np.array(want)
    pose, mouth = t[:, 16] > 0.5, t[:, 18] > 0
    error = np.abs(g[:, :3] - t[:, :3])
    print(f"face, held-out rendered: {len(t)} crops")
    print("  pose: mean error yaw, pitch, roll (degrees) "
          f"{error[pose].mean(0).round(1)}; within 30 degrees of yaw "
          f"{error[pose & (np.abs(t[:, 0]) < 30)].mean(0).round(1)}")
    for low, high in ((0, 15), (15, 35), (35, 60), (60, 90)):
        there = pose & (np.abs(t[:, 0]) >= low) & (np.abs(t[:, 0]) < high)
        ratio = (g[there, 0] * np.sign(t[there, 0])).sum() / np.abs(t[there, 0]).sum()
        print(f"  yaw {low} to {high}: {there.sum()} crops, mean error {error[there].mean(0).round(1)}, "
              f"said {g[there, 16:19].mean(0).round(1)}, yaw read as {ratio:.2f} of the truth")
    away = np.linalg.norm((g[:, 3:13] - t[:, 3:13]).reshape(-1, 5, 2), axis=2) * 1.3
    print(f"  points: mean error {away[pose].mean(0).round(3)} face sides (eyes, nose, mouth)")
    yawn, shut = mouth & (t[:, 13] > 0.5), mouth & (t[:, 13] < 0.2)
    print(f"  mouth: mean error {np.abs(g[mouth, 13] - t[mouth, 13]).mean():.3f}; "
          f"AUC wide (> 0.5) against shut (< 0.2) {auc(g[yawn, 13], g[shut, 13]):.4f}")
    print(f"  face: AUC {auc(g[t[:, 14] > 0, 14], g[t[:, 14] < 1, 14]):.4f}")
    use = t[:, 20] > 0
    print(f"  covered: AUC {auc(g[use & (t[:, 15] > 0), 15], g[use & (t[:, 15] < 1), 15]):.4f}")


class Pack:
    """YuNet and FSA-Net of the downloaded pack, for finding faces and comparing."""

    def __init__(self, folder):
        self.find = session(folder / "yunet_n_320_320.onnx")
        self.pose_nets = [session(folder / f"fsanet-{k}-iter-688590.onnx") for k in ("1x1", "var")]

    def face(self, image):
        """Best face of a BGR picture: score, box x, y, w, h, five points."""
        scale = 320 / max(image.shape[:2])
        small = cv2.resize(image, None, fx=scale, fy=scale)
        x = np.zeros((320, 320, 3), np.float32)
        x[: small.shape[0], : small.shape[1]] = small
        names = [o.name for o in self.find.get_outputs()]
        out = dict(zip(names, self.find.run(None, {"input": x.transpose(2, 0, 1)[None]})))
        best = (0.0, None, None)
        for s in (8, 16, 32):
            score = np.sqrt(np.clip(out[f"cls_{s}"] * out[f"obj_{s}"], 0, 1))[0, :, 0]
            i = int(score.argmax())
            if score[i] > best[0]:
                corner = np.array([i % (320 // s), i // (320 // s)]) * s
                b = out[f"bbox_{s}"][0, i]
                size = np.exp(b[2:]) * s
                points = out[f"kps_{s}"][0, i].reshape(5, 2) * s + corner
                best = (float(score[i]),
                        np.concatenate([corner + b[:2] * s - size / 2, size]) / scale, points / scale)
        return best

    def pose(self, square_bgr):
        """Mean of the two FSA-Nets in the project's sense: yaw, pitch, roll."""
        x = cv2.resize(square_bgr, (64, 64), interpolation=cv2.INTER_AREA).astype(np.float32)
        x = ((x - 127.5) / 128).transpose(2, 0, 1)[None]
        p = np.mean([n.run(None, {"input": x})[0][0] for n in self.pose_nets], 0)
        return np.array([-p[0], p[1], -p[2]])


def crop(image, middle, side):
    """A square of a picture, edges repeated."""
    m = np.array([[1, 0, side / 2 - middle[0]], [0, 1, side / 2 - middle[1]]])
    n = max(2, int(round(side)))
    return cv2.warpAffine(image, m, (n, n), borderMode=cv2.BORDER_REPLICATE)


def grey(image, size):
    """A BGR square as the networks take it."""
    return square(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), size)


def eye_squares(image, points):
    """Right and mirrored left eye of a BGR picture, upright, 1.1 eye distances wide."""
    right, left = points[0], points[1]
    d = left - right
    apart, a = float(np.hypot(*d)), float(np.arctan2(d[1], d[0]))
    k = 1.1 * apart / 64
    c, s = np.cos(a) * k, np.sin(a) * k
    light = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    light = cv2.GaussianBlur(light, (0, 0), 0.4 * k) if k > 1.3 else light
    out = []
    for centre, flip in ((right, 1), (left, -1)):
        m = np.array([[c * flip, -s, 0], [s * flip, c, 0]])
        m[:, 2] = centre - m[:, :2] @ [31.5, 31.5]
        eye = cv2.warpAffine(light, m, (64, 64), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
                             borderMode=cv2.BORDER_REPLICATE)
        out.append(eye.astype(np.float32)[None, None] / 255)
    return out


# How a unit follows a face without the pack (`agent`, cabin/face_state.rs): sides in YuNet's measure.
SIDE_PER_EYE_MOUTH, MIDDLE_UP, ASIDE_PER_DEG = 2.89, 0.07, 0.0025
RENDERED_SIDE = dataset.SIDE_PER_EYE_MOUTH / SIDE_PER_EYE_MOUTH
RENDERED_DOWN = MIDDLE_UP - dataset.MIDDLE_UP * RENDERED_SIDE


def state_square(middle, side):
    """Middle and side of the face network's square for a face of YuNet's measure."""
    return middle + [0, RENDERED_DOWN * side], 1.3 * RENDERED_SIDE * side


def hand_labels(path, times):
    """Yaw, pitch and face boxes of a recording, drawn straight between the labelled pictures."""
    with open(path) as f:
        rows = list(csv.DictReader(line for line in f if not line.startswith("#")))
    at = np.array([float(r["t_s"]) for r in rows])
    return {k: np.interp(times, at, [float(r[k]) for r in rows]) for k in (
        "yaw_deg", "pitch_deg", "face_x0", "face_y0", "face_x1", "face_y1")}


def followed(net, frames, middle, side):
    """Poses and what error they say, the face followed from picture to picture as a unit does."""
    out = []
    for frame in frames:
        at, wide = state_square(middle, side)
        got = net.run(None, {"square": grey(crop(frame, at, wide), 80)})
        out.append(np.concatenate([got[0][0], got[5][0], [got[3][0, 0]]]))
        points = (got[1][0].reshape(5, 2) - 0.5) * wide + at
        eyes, mouth = points[:2].mean(0), points[3:].mean(0)
        raised = 1 + dataset.RAISED_PER_DEG * np.clip(got[0][0, 1], 0, dataset.MOST_RAISED_DEG)
        if got[3][0, 0] >= 0.5:
            now = SIDE_PER_EYE_MOUTH * np.linalg.norm(mouth - eyes) * raised
            # as in faces.rs: a head's size changes slowly, and not by a doubtful reading
            growth = 1 + 0.04 * max(0.0, 1 - got[5][0, :2].max() / 12)
            side = side * np.clip(now / side, 1 / growth, growth)
            middle = (eyes + mouth) / 2 - np.array([ASIDE_PER_DEG * got[0][0, 0], MIDDLE_UP]) * side
    return np.array(out)


def by_hand(net, data, labels):
    """The face network alone on recordings, from the first labelled box on, against hand labels."""
    for path in sorted((data / "driver_video").iterdir()):
        table = labels / f"{path.stem}.csv"
        if not table.exists():
            continue
        video, frames = cv2.VideoCapture(str(path)), []
        step = 1 / video.get(cv2.CAP_PROP_FPS)
        while True:
            ok, frame = video.read()
            if not ok:
                break
            frames.append(frame)
        want = hand_labels(table, np.arange(len(frames)) * step)
        h, w = frames[0].shape[:2]
        x0, y0, x1, y1 = (want[k][0] * s for k, s in (("face_x0", w), ("face_y0", h),
                                                      ("face_x1", w), ("face_y1", h)))
        start = np.array([(x0 + x1) / 2, (y0 + y1) / 2]), y1 - y0
        got = followed(net, frames, *start)
        turned = followed(net, [f[:, ::-1] for f in frames], np.array([w - start[0][0], start[0][1]]), start[1])
        yaw, pitch = want["yaw_deg"], want["pitch_deg"]
        print(f"{path.name}: {len(frames)} frames, followed as a unit does, against hand labels")
        print(f"  mirrored: differs by {np.abs(got[:, 0] + turned[:, 0]).mean():.1f} degrees of yaw")
        for name, which in (("all", yaw < 999), ("yaw below 14", np.abs(yaw) < 14),
                            ("yaw 14 to 35", (np.abs(yaw) >= 14) & (np.abs(yaw) < 35)),
                            ("yaw from 35", np.abs(yaw) >= 35)):
            if which.any():
                e, p = np.abs(got[which, 0] - yaw[which]), np.abs(got[which, 1] - pitch[which])
                print(f"  {name}: {which.sum()} frames, mean error yaw {e.mean():.1f}, pitch {p.mean():.1f}; "
                      f"said {got[which, 3].mean():.1f}, {got[which, 4].mean():.1f}")
        if np.ptp(yaw) > 20:
            print(f"  yaw read = {np.polyfit(yaw, got[:, 0], 1).round(2)} of the label (slope, offset); "
                  f"pitch {np.polyfit(pitch, got[:, 1], 1).round(2)}; yaw from {got[:, 0].min():.0f} to {got[:, 0].max():.0f}")


def clips(models, data, pack):
    """All networks on the recordings of drivers, beside the pack's opinion."""
    nets = {n: session(models / n) for n in ("eye_state.onnx", "face_state.onnx", "phone.onnx")
            if (models / n).exists()}
    for path in sorted((data / "driver_video").iterdir()):
        video, rows, frames = cv2.VideoCapture(str(path)), [], 0
        while True:
            ok, frame = video.read()
            if not ok:
                break
            frames += 1
            score, box, points = pack.face(frame)
            if score < 0.6:
                continue
            side = float(max(box[2:]))
            middle = box[:2] + box[2:] / 2
            face = crop(frame, middle, 1.3 * side)
            row = dict(pack=pack.pose(face))
            if "face_state.onnx" in nets:
                at, wide = state_square(middle, side)
                out = nets["face_state.onnx"].run(None, {"square": grey(crop(frame, at, wide), 80)})
                row.update(pose=out[0][0], mouth=out[2][0, 0], face=out[3][0, 0], covered=out[4][0, 0],
                           points=np.linalg.norm((out[1][0].reshape(5, 2) - 0.5) * wide + at
                                                 - points, axis=1).mean() / side)
            if "eye_state.onnx" in nets:
                found = [nets["eye_state.onnx"].run(None, {"eye": e}) for e in eye_squares(frame, points)]
                row["eyes"] = [[f[0][0, 0], f[1][0, 0]] for f in found]
            if "phone.onnx" in nets:
                driver = crop(frame, middle + [0, 0.5 * side], 2.6 * side)
                row["phone"] = nets["phone.onnx"].run(None, {"driver": grey(driver, 128)})[0][0]
            rows.append(row)
        print(f"{path.name}: {frames} frames, face found by the pack in {len(rows)}")
        if not rows:
            continue
        get = lambda k: np.array([r[k] for r in rows])
        if "pose" in rows[0]:
            p, q = get("pose"), get("pack")
            print(f"  pose against FSA-Net: mean difference {np.abs(p - q).mean(0).round(1)}, "
                  f"correlation {[round(float(np.corrcoef(p[:, k], q[:, k])[0, 1]), 2) for k in range(3)]}, "
                  f"yaw from {p[:, 0].min():.0f} to {p[:, 0].max():.0f} "
                  f"(FSA-Net {q[:, 0].min():.0f} to {q[:, 0].max():.0f})")
            print(f"  points against YuNet {get('points').mean():.3f} face sides; face >= 0.5 in "
                  f"{(get('face') >= 0.5).mean():.3f}; covered >= 0.5 in {(get('covered') >= 0.5).mean():.3f}; "
                  f"mouth > 0.5 in {(get('mouth') > 0.5).mean():.3f}")
        if "eyes" in rows[0]:
            e = get("eyes").reshape(-1, 2)
            sure = e[e[:, 1] >= 0.5, 0]
            print(f"  eyes: seen >= 0.5 in {(e[:, 1] >= 0.5).mean():.3f}; of these opening quartiles "
                  f"{np.percentile(sure, [25, 50, 75]).round(3)}, below {OPEN_AT} in {(sure < OPEN_AT).mean():.3f}")
        if "phone" in rows[0]:
            f = get("phone")
            print(f"  phone (nobody holds one): at the ear >= 0.5 in {(f[:, 1] >= 0.5).mean():.3f}, "
                  f"in view >= 0.5 in {(f[:, 2] >= 0.5).mean():.3f}; "
                  f"either >= 0.9 in {(f[:, 1:].max(1) >= 0.9).mean():.3f} of frames")


def phones_rendered(net, shards):
    """Phone network on held-out rendered people."""
    got, want = [], []
    for x, t in held_out("phone", shards):
        got.append(net.run(None, {"driver": x[None]})[0][0])
        want.append(int(t[0]))
    g, t = np.array(got), np.array(want)
    print(f"phone, held-out rendered: {len(t)} crops, {(g.argmax(1) == t).mean():.3f} right")
    for at in (0.5, 0.9):
        for k, name in ((1, "at the ear"), (2, "in view")):
            print(f"  {name} >= {at}: recall {(g[t == k, k] >= at).mean():.3f}, "
                  f"false positives {(g[t == 0, k] >= at).mean():.3f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--shards", type=Path)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--pack", type=Path)
    parser.add_argument("--labels", type=Path, help="hand labels of the recordings")
    a = parser.parse_args()
    scores = {"eye": ("eye_state.onnx", eyes_rendered), "face": ("face_state.onnx", faces_rendered),
              "phone": ("phone.onnx", phones_rendered)}
    for kind, (name, rendered) in scores.items():
        if not (a.models / name).exists():
            continue
        if a.shards and any(a.shards.glob(f"{kind}-*.npz")):
            rendered(session(a.models / name), a.shards)
    if a.data and a.data.exists():
        if (a.models / "eye_state.onnx").exists():
            eyes_real(session(a.models / "eye_state.onnx"), a.data)
        if a.labels and (a.models / "face_state.onnx").exists():
            by_hand(session(a.models / "face_state.onnx"), a.data, a.labels)
        if a.pack and a.pack.exists():
            clips(a.models, a.data, Pack(a.pack))


if __name__ == "__main__":
    main()
