"""Training samples: cut-outs of rendered pictures, moved, lit and spoiled as in the field."""

import cv2
import numpy as np
import torch

import augment


# The share of the eyeball seen, as measured on the mesh, brought to the scale of the contour of
# MediaPipe's iris network on the same pictures (fitted there): about 0.25 open, 0.05 closed.
CLOSED, PER_GAP = 0.045, 1.25
# Pitch of the mesh looking straight ahead, on FSA-Net's scale (fitted on rendered faces): both
# packs then mean the same by "level".
LEVEL_DEG = -4.5


def load(paths):
    """Joins shards written by `render.py`: pictures and label rows."""
    parts = [np.load(p) for p in paths]
    return (np.concatenate([p["cuts"] for p in parts]), np.concatenate([p["rows"] for p in parts]))


def window(image, centre, side, out, angle):
    """A turned square of a cut-out as out x out floats 0 to 1."""
    k, a = side / out, np.radians(angle)
    c, s = np.cos(a) * k, np.sin(a) * k
    half = (out - 1) / 2
    m = np.array([[c, -s, centre[0] - c * half + s * half], [s, c, centre[1] - s * half - c * half]])
    if k > 1.3:
        image = cv2.GaussianBlur(image, (0, 0), 0.4 * k)
    got = cv2.warpAffine(image, m, (out, out), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
                         borderMode=cv2.BORDER_REFLECT)
    return got.astype(np.float32) / 255


class EyeSet(torch.utils.data.Dataset):
    """Eye squares of 64 x 64 and [opening, iris x, y, seen, weights of opening, seen, iris].

    Columns of a label row of an eye shard: opening, iris x, iris y, width as seen over true width,
    share hidden, glasses (0 none, 1 clear, 2 dark), yaw, pitch, roll, closure, identity, width
    over eye distance.
    """

    SIZE = 64

    def __init__(self, cuts, rows, seed, plain=False):
        self.cuts, self.rows, self.seed, self.plain = cuts, rows, seed, plain
        self.epoch = 0

    def __len__(self):
        return len(self.cuts)

    def __getitem__(self, i):
        rng = np.random.default_rng([self.seed, self.epoch, i])
        return sample_eye(rng, self.cuts[i], self.rows[i], self.plain, self)


def sample_eye(rng, cut, row, plain, data):
    """One eye square. `plain` gives mild conditions, for validation."""
    opening, iris, facing, hidden, glasses = row[0], row[1:3], row[3], row[4], row[5]
    full = cut.shape[0]
    if not plain and rng.random() < 0.35:  # which eye it is may be mistaken upstream
        cut, iris = cut[:, ::-1], iris * [-1, 1]
    zoom = 1.0 if plain else float(np.exp(rng.uniform(np.log(0.55), np.log(1.6))))
    side = 0.55 * full * zoom
    angle = 0.0 if plain else rng.normal(0, 6)
    shift = np.zeros(2) if plain else rng.normal(0, 0.07, 2).clip(-0.18, 0.18) * side
    stretch = np.exp(rng.normal(0, 0.06))
    image = window(cut, np.array([full, full]) / 2 - 0.5 + shift, side * stretch, 64, angle)
    mode = "plain" if plain or rng.random() < 0.78 else rng.choice(
        ["dark", "glare", "bar", "elsewhere", "blur", "tiny", "junk"])
    if mode == "elsewhere":
        far = rng.uniform(0, 2 * np.pi)
        off = np.array([np.cos(far), np.sin(far)]) * rng.uniform(0.30, 0.42) * full
        side = 0.55 * full * rng.uniform(0.4, 0.75)
        image = window(cut, full / 2 + off, side, 64, angle * 4)
    if mode == "junk":
        other = data.cuts[rng.integers(len(data.cuts))]
        n = int(rng.integers(20, 150))
        image = window(other, rng.uniform(0, full, 2), n, 64, rng.uniform(0, 360))
        image = image if rng.random() < 0.5 else np.clip(
            augment.blob(rng, 64) * rng.normal(0, 0.6) + rng.uniform(0, 1)
            + 0.3 * cv2.resize(rng.normal(0, 1, (int(rng.integers(2, 20)),) * 2).astype(np.float32), (64, 64)), 0, 1)
        image = image.astype(np.float32)
    good = not plain and mode == "plain" and rng.random() < 0.3
    image = mild(rng, image) if good else augment.tone(rng, image)
    if not plain and rng.random() < 0.15:
        image = np.clip(image + rng.uniform(0.2, 0.8) * augment.blob(
            rng, 64, radius=rng.uniform(0.03, 0.12)), 0, 1.2).astype(np.float32)
    centre = 0.5 - shift / side
    if mode == "glare":
        image = image + rng.uniform(1.0, 2.5) * augment.blob(rng, 64, centre, rng.uniform(0.25, 0.6))
    if mode == "bar":
        over = augment.bar(rng, 64, centre + rng.normal(0, 0.03, 2))
        over = np.maximum(over, augment.bar(rng, 64, centre)) if rng.random() < 0.5 else over
        image = image * (1 - over) + over * rng.uniform(0, 1)
    if mode == "blur":
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(6, 14) / zoom)
    pixels = 64 if plain and rng.random() < 0.5 else int(np.exp(rng.uniform(np.log(15), np.log(110))))
    if mode == "tiny":
        pixels = int(rng.integers(3, 7))
    image = np.clip(image, 0, 1) if good else augment.camera(rng, np.clip(image, 0, 1.2), min(pixels, 64))
    if mode == "dark":
        image = augment.darkness(rng, image)
    # seen: clearly yes, clearly no, and a band between that teaches neither
    seen, sure = 1.0, 1.0
    if mode not in ("plain",) or facing < 0.40 or hidden > 0.5 or glasses == 2:
        seen = 0.0
        sure = 0.3 if mode == "bar" else 1.0
    elif facing < 0.58 or hidden > 0.2 or image.std() < 0.02:
        sure = 0.0
    turn = np.radians(-angle)
    c, s = np.cos(turn), np.sin(turn)
    iris = np.array([c * iris[0] - s * iris[1], s * iris[0] + c * iris[1]])
    weight = float(seen and sure)
    label = np.array([CLOSED + PER_GAP * opening, iris[0], iris[1], seen, weight, sure,
                      weight * float(opening > 0.06)], np.float32)
    return image[None].astype(np.float32), label



def mild(rng, image):
    """A good camera in good light, so that there is much to learn from."""
    gain = rng.uniform(0.5, 0.95) / max(float(np.percentile(image, 90)), 0.05)
    noise = rng.normal(0, rng.uniform(0, 0.02), image.shape)
    return np.clip(image ** np.exp(rng.normal(0, 0.15)) * gain + noise, 0, 1).astype(np.float32)


def spoil(rng, image, plain, low, high, good=0.35):
    """Light and camera for a face or driver picture; `low` and `high` real pixels on a side;
    `good` is how often both are good."""
    size = image.shape[0]
    if not plain and rng.random() < good:
        return mild(rng, image)
    image = augment.tone(rng, image)
    if not plain and rng.random() < 0.2:
        image = image + rng.uniform(0.2, 1.2) * augment.blob(rng, size)
    pixels = int(np.exp(rng.uniform(np.log(low), np.log(high))))
    return augment.camera(rng, np.clip(image, 0, 1.2), min(pixels, size))


def junk(rng, data, size):
    """No face: a corner of some picture, or made-up texture."""
    full = data.cuts.shape[1]
    if rng.random() < 0.5:
        other = data.cuts[rng.integers(len(data.cuts))]
        corner = rng.choice([0.0, 1.0], 2) * full
        side = full * rng.uniform(0.2, 0.5)
        return window(other, corner + (0.5 - corner / full) * side * rng.uniform(0.9, 1.3, 2), side,
                      size, rng.uniform(0, 360))
    image = np.full((size, size), rng.uniform(0, 1), np.float32)
    for _ in range(int(rng.integers(0, 8))):
        image = image + rng.normal(0, 0.5) * (augment.blob(rng, size) if rng.random() < 0.6
                                              else augment.bar(rng, size))
    n = int(rng.integers(2, 40))
    grain = cv2.resize(rng.normal(0, 1, (n, n)).astype(np.float32), (size, size))
    return np.clip(image + rng.uniform(0, 0.4) * grain, 0, 1.2).astype(np.float32)


# How a unit that follows a face by its points cuts the square (`agent`, cabin/face_state.rs): its
# side over the distance between the middles of eyes and mouth, more where the head is raised, which
# brings both nearer to each other (measured on the rendered heads), and where its middle lies from
# theirs, in sides.
SIDE_PER_EYE_MOUTH, RAISED_PER_DEG, MOST_RAISED_DEG = 2.48, 0.0125, 50.0
MIDDLE_UP, ASIDE_PER_DEG = 0.03, 0.0029
# Columns of a face shard before the marks, and how many marks lie in the middle and on each side.
FACE_COLUMNS, MIDDLE_MARKS, SIDE_MARKS = 18, 10, 20
MARKS_SWAPPED = np.concatenate([np.arange(MIDDLE_MARKS),
                                np.arange(SIDE_MARKS) + MIDDLE_MARKS + SIDE_MARKS,
                                np.arange(SIDE_MARKS) + MIDDLE_MARKS])


def followed_square(points, pose):
    """Middle and side of the square around a face, as a unit finds it from the points."""
    eyes, mouth = points[:2].mean(0), points[3:].mean(0)
    side = SIDE_PER_EYE_MOUTH * float(np.linalg.norm(mouth - eyes))
    side = side * (1 + RAISED_PER_DEG * float(np.clip(pose[1], 0, MOST_RAISED_DEG)))
    return (eyes + mouth) / 2 - np.array([ASIDE_PER_DEG * pose[0], MIDDLE_UP]) * side, side


def cut_off(rng, cut, middle, unit, yaw):
    """The picture ends within the cut-out: its last row or column goes on, as in a unit. More
    often on the side to which the head turns, because it moves there."""
    at = rng.uniform(0.08, 0.75) * unit
    ahead = 0 if yaw > 0 else 1
    way = int(rng.choice([ahead, 1 - ahead, 2, 3], p=[0.5, 0.2, 0.2, 0.1]))
    cut = cut.copy()
    if way < 2:
        x = int(np.clip(middle[0] + (at if way == 0 else -at), 2, cut.shape[1] - 2))
        if way == 0:
            cut[:, x:] = cut[:, x - 1 : x]
        else:
            cut[:, :x] = cut[:, x : x + 1]
    else:
        y = int(np.clip(middle[1] + (at if way == 2 else -at), 2, cut.shape[0] - 2))
        if way == 2:
            cut[y:] = cut[y - 1 : y]
        else:
            cut[:y] = cut[y : y + 1]
    return cut


def restyle(rng, image):
    """Changes the look and leaves the shape: uneven skin and light, other edges, other greys.

    Rendered people look alike in ways that real ones do not; what is left to learn from is shape.
    """
    size = image.shape[0]
    if rng.random() < 0.5:
        n = int(rng.integers(3, 12))
        field = rng.normal(0, rng.uniform(0.1, 0.5), (n, n)).astype(np.float32)
        image = image * np.exp(cv2.resize(field, (size, size), interpolation=cv2.INTER_CUBIC))
    if rng.random() < 0.3:
        n = int(rng.choice([3, 5]))
        kernel = rng.normal(0, 1 / n, (n, n)).astype(np.float32)
        other = cv2.filter2D(image, -1, kernel, borderType=cv2.BORDER_REPLICATE)
        other = (other - other.mean()) / (other.std() + 1e-3) * (image.std() + 0.05) + image.mean()
        image = image + rng.uniform(0.1, 0.75) * (other - image)
    if rng.random() < 0.25:
        soft = cv2.GaussianBlur(image, (0, 0), rng.uniform(2, 12))
        image = soft.mean() + (image - soft) * rng.uniform(0.8, 2.5) + (soft - soft.mean()) * rng.uniform(0.1, 1)
    return np.clip(image, 0, 2).astype(np.float32)


class FaceSet(EyeSet):
    """Face squares of 80 x 80, 1.3 face sides wide.

    Labels: yaw, pitch, roll (degrees), ten coordinates in fractions of the square, mouth, face,
    covered, and the weights of pose, points, mouth, face, covered; then x, y, depth of the marks,
    from the square's middle in fractions of it.
    """

    good = 0.55  # how often light and camera are good

    def __getitem__(self, i):
        rng = np.random.default_rng([self.seed, self.epoch, i])
        cut, row, plain = self.cuts[i], self.rows[i], self.plain
        full = cut.shape[0]
        pose, points = row[:3].copy(), row[3:13].reshape(5, 2).copy()
        marks = row[FACE_COLUMNS:].reshape(-1, 3).copy()
        pose[1] += LEVEL_DEG
        mouth, hidden, what = row[13], row[14], int(row[15])
        if not plain and rng.random() < 0.5:  # mirror: left and right change places
            cut = cut[:, ::-1]
            pose[[0, 2]] *= -1
            points = points[[1, 0, 2, 4, 3]] * [-1, 1]
            marks = marks[MARKS_SWAPPED] * [-1, 1, 1]
        mode = "plain" if plain or rng.random() < 0.88 else rng.choice(
            ["junk", "partial", "tight", "dark"])
        unit = full / 2.3
        middle, side = followed_square(points, pose)
        if not plain and rng.random() < 0.3:  # a detector's box
            middle, side = np.zeros(2), 1.0
        zoom = 1.0 if plain else float(np.exp(rng.normal(0, 0.12)))
        shift = np.zeros(2) if plain else rng.uniform(-0.15, 0.15, 2)
        # a square that lost its face's size or place must lead back to it, or be no face
        if not plain and rng.random() < 0.3:
            zoom, shift = float(np.exp(rng.uniform(np.log(0.5), np.log(1.7)))), rng.uniform(-0.35, 0.35, 2)
        if mode == "tight":
            zoom, shift = rng.uniform(0.1, 0.35), rng.uniform(-0.45, 0.45, 2)
        if mode == "partial":
            a = rng.uniform(0, 2 * np.pi)
            shift = np.array([np.cos(a), np.sin(a)]) * rng.uniform(0.75, 1.1)
        shift = middle + shift * side
        if not plain and mode == "plain" and rng.random() < 0.3:
            cut = cut_off(rng, cut, full / 2 + points.mean(0) * unit, unit, pose[0])
        turn = 0.0 if plain else rng.normal(0, 5)  # cameras hang crooked: part of the roll
        side = 1.3 * zoom * side
        image = window(cut, full / 2 - 0.5 + shift * unit, side * unit, 80, turn)
        a = np.radians(-turn)
        m = np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]])
        points = (points - shift) @ m.T / side + 0.5
        marks = np.concatenate([(marks[:, :2] - shift) @ m.T, marks[:, 2:]], 1) / side
        pose[2] += turn
        if mode == "junk":
            image = junk(rng, self, 80)
        elif not plain and rng.random() < 0.6:
            image = restyle(rng, image)
        barred = not plain and rng.random() < 0.08
        if barred:
            over = augment.bar(rng, 80)
            image = image * (1 - over) + over * rng.uniform(0, 1)
        image = spoil(rng, image, plain, 24, 200, self.good)
        if mode == "dark":
            image = augment.darkness(rng, image)
        face = float(mode == "plain")
        covered = float(what > 0 and (hidden > 0.15 or what == 2))
        label = np.concatenate([pose, points.ravel(), [mouth, face, covered], [
            face * (1.0 if hidden < 0.45 else 0.3), face * (1.0 if hidden < 0.35 else 0.3),
            face * float(what == 0 and abs(pose[0]) < 60), 1.0,
            face * float(not barred and not (what == 1 and 0.05 < hidden < 0.15))], marks.ravel()])
        return image[None].astype(np.float32), label.astype(np.float32)


class PhoneSet(EyeSet):
    """Driver squares of 128 x 128, 2.6 face sides wide, and what is held (0 none, 1 ear, 2 view)."""

    def __getitem__(self, i):
        rng = np.random.default_rng([self.seed, self.epoch, i])
        cut, held, plain = self.cuts[i], self.rows[i][0], self.plain
        full = cut.shape[0]
        if not plain and rng.random() < 0.5:
            cut = cut[:, ::-1]
        zoom = 1.0 if plain else float(np.exp(rng.normal(0, 0.10)))
        unit = full / 3.6
        shift = np.zeros(2) if plain else rng.uniform(-0.25, 0.25, 2) * unit
        image = window(cut, full / 2 - 0.5 + shift, 2.6 * zoom * unit, 128,
                       0 if plain else rng.normal(0, 4))
        if not plain and rng.random() < 0.06:
            image, held = junk(rng, self, 128), 0
        image = spoil(rng, image, plain, 60, 220)
        return image[None].astype(np.float32), np.array([held], np.float32)
