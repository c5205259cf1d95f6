"""Renders pictures of random people with random light, and their labels.

    python3 render.py --data FOLDER --out shard.npz --first 0 --count 1000

Each picture: a head of a random identity. Stored are grey cut-outs around both eyes and the face,
in linear light as 8 bits after a root, and the labels from the mesh itself.
"""

import argparse
import time
from pathlib import Path

import cv2
import numpy as np

import props
from assets import Model, fetch
from body import Body, dress, head_rotation, make_identity, normals
from scene import SIZE, Scene, perspective, project

EYES = ("helper-r-eye", "helper-l-eye")
NECK = ("neck01", "neck02", "neck03", "head")
NECK_SHARE = (0.25, 0.5, 0.75, 1.0)


def centre_radius(vertices, index):
    """Centre and radius of an eyeball from its helper vertices."""
    p = vertices[index]
    low, high = p.min(0), p.max(0)
    centre = (low + high) / 2
    radius = (high - low)[:2].mean() / 2
    centre[2] = low[2] + radius
    return centre, radius


CORNERS = ((1207, 1167), (7899, 7859))  # inner, outer corner of the right and the left eye
UPPER_RIM, LOWER_RIM = 6784, 14755  # opposite points of the left lids
NOSE_TIP, MOUTH = 5054, (424, 7187)  # right and left corner of the mouth
LIPS = 474, 493  # where the lips meet in the middle
MIDDLE_MARKS, SIDE_MARKS = 10, 20  # vertices to learn the head's shape by


def unit(v):
    """A vector at length one."""
    return np.asarray(v, np.float64) / np.linalg.norm(v)


def random_light(rng):
    """Light as in a cab: soft, from one window, a lamp at the camera (infrared), or little."""
    kind = rng.choice(["soft", "window", "flash", "mixed"], p=[0.3, 0.35, 0.15, 0.2])
    key_dir = rng.normal(size=3)
    key_dir[2] = abs(key_dir[2]) * rng.choice([1.0, 0.3]) + 0.1
    key_dir[1] = key_dir[1] * 0.6 + 0.35
    if kind == "window":
        key_dir[0] += np.sign(key_dir[0]) * 0.8
    value = dict(soft=(0.5, 0.0, 0.7), window=(2.0, 0.0, 0.35), flash=(0.1, 1.5, 0.1),
                 mixed=(1.0, 0.4, 0.4))[kind]
    jitter = np.exp(rng.normal(0, 0.4, 5))
    return dict(key=float(value[0] * jitter[0]), flash=float(value[1] * jitter[1]),
                sky=float(value[2] * jitter[2]), ground=float(value[2] * jitter[3] * 0.5),
                ambient=float(value[2] * jitter[4] * 0.2), key_dir=unit(key_dir),
                sky_dir=unit(rng.normal(0, 0.5, 3) + [0, 1, 0.2])), kind


def spread_out(points, count):
    """Indices of `count` points that lie far from each other."""
    chosen = [0]
    near = np.linalg.norm(points - points[0], axis=1)
    while len(chosen) < count:
        chosen.append(int(near.argmax()))
        near = np.minimum(near, np.linalg.norm(points - points[chosen[-1]], axis=1))
    return chosen


def marks(base):
    """Vertices all over the head, to learn its shape by: MIDDLE_MARKS in the middle, then
    SIDE_MARKS of the left half, then their mirror images."""
    p = base[:13380]
    head = (p[:, 1] > 6.2) & (p[:, 1] < 8.35) & (p[:, 2] > -0.3) & (np.abs(p[:, 0]) < 0.95)
    outside = np.linalg.norm((p - [0, 7.2, 0.4]) / [0.62, 0.9, 0.85], axis=1) > 0.92
    middle = np.flatnonzero(head & outside & (np.abs(p[:, 0]) < 0.005))
    left = np.flatnonzero(head & outside & (p[:, 0] > 0.08))
    middle = middle[spread_out(p[middle], MIDDLE_MARKS)]
    left = left[spread_out(p[left], SIDE_MARKS)]
    right = [int(np.linalg.norm(p - p[i] * [-1, 1, 1], axis=1).argmin()) for i in left]
    return np.concatenate([middle, left, right])


class Studio:
    """Everything needed to draw labelled pictures of one model."""

    def __init__(self, data):
        self.model = Model(data)
        self.body = Body(self.model)
        self.scene = Scene(self.model)
        p = self.model.base[:13380]
        self.front = np.flatnonzero((p[:, 1] > 6.25) & (p[:, 1] < 7.75) & (p[:, 2] > 0.6)
                                    & (np.abs(p[:, 0]) < 0.75))
        self.marks = marks(self.model.base)
        self.hands = {side: props.hand_mesh(self.model, side) for side in "RL"}
        self.rims = props.lash_rims(self.model)
        self.eyeballs = [np.unique(np.concatenate(self.model.groups[g])) for g in EYES]

    def expression(self, rng, neutral, yawn=0.25):
        """Expression units, and how far each eye is closed (1: just shut)."""
        gap = neutral[UPPER_RIM, 1] - neutral[LOWER_RIM, 1]
        shut = np.clip(gap / 0.124, 0.3, 1.1)
        mode = rng.choice(["open", "part", "shut"], p=[0.4, 0.25, 0.35])
        draw = lambda: dict(open=rng.uniform(-0.35, 0.2), part=rng.uniform(0.2, 0.95),
                            shut=rng.uniform(0.98, 1.2))[mode]
        right = draw()
        left = draw() if rng.random() < 0.2 else right + rng.normal(0, 0.03)
        look_x, look_y = rng.normal(0, 14), rng.normal(-1, 10)
        look_x, look_y = np.clip([look_x, look_y], -32, 28)
        units = {}
        for side, c in (("Right", right), ("Left", left)):
            lids = c * shut
            if c < 0.9:
                lids += np.clip(-look_y / 35, -0.2, 0.7) * 0.7 * shut * (1 - c)
                lids = min(lids, 0.93 * shut)
            units["eyeBlink" + side] = lids
            if rng.random() < 0.3:
                units["eyeSquint" + side] = rng.uniform(0, 0.6)
        brow = rng.normal(0, 0.4)
        for side in ("Left", "Right"):
            units["browOuterUp" + side] = max(0, brow)
            units["browDown" + side] = max(0, -brow)
        units["browInnerUp"] = max(0, rng.normal(0, 0.3))
        smile = max(0, rng.normal(-0.1, 0.4))
        units["mouthSmileLeft"] = units["mouthSmileRight"] = min(smile, 0.8)
        units["cheekSquintLeft"] = units["cheekSquintRight"] = 0.5 * min(smile, 0.8)
        u = rng.random()
        units["jawOpen"] = 0.0 if u > 0.5 else (rng.uniform(0.5, 1.1) if u < yawn else rng.uniform(0, 0.5))
        for name in ("mouthPucker", "mouthFunnel", "mouthPressLeft", "mouthLeft", "mouthRight"):
            if rng.random() < 0.1:
                units[name] = rng.uniform(0, 0.5)
        return units, (right, left), (look_x, look_y)

    def picture(self, rng, identity, pose, half_width, look_at="eyes", prop=None):
        """Draws a person. Returns the picture and its labels as a dict."""
        scene = self.scene
        look = dict(identity.look)
        neutral = self.body.shape(identity)
        units, closure, gaze = self.expression(rng, neutral)
        v = before_pose = self.body.express(neutral, units)
        eyes = [centre_radius(v, i) for i in self.eyeballs]
        # the body half follows the head, the neck does the rest
        follow = rng.uniform(0, 0.4)
        trunk = head_rotation(pose[0] * follow, rng.normal(0, 4), rng.normal(0, 3))
        turns, before = {}, trunk
        for bone, share in zip(NECK, NECK_SHARE):
            part = head_rotation(*(pose[i] * share + (1 - share) * pose[0] * follow * (i == 0)
                                   for i in range(3)))
            turns[bone] = before.T @ part
            before = part
        if look_at == "driver":  # arms hang, or reach for the wheel
            for arm, sign in (("upperarm01.L", -1), ("upperarm01.R", 1)):
                turns[arm] = head_rotation(0, 0, sign * rng.uniform(5, 45)) @ head_rotation(
                    sign * rng.uniform(-5, 40), 0, 0)
        v = self.body.pose(v, turns)
        v = v @ trunk.T
        head = head_rotation(*pose)
        # eyeballs go with the head: follow the helper vertices, which were posed with it
        moved = []
        for (c, r), index in zip(eyes, self.eyeballs):
            moved.append((v[index].mean(0) + head @ (c - before_pose[index].mean(0)), r))
        eyes = moved
        scene.upload(v, normals(v, scene.smooth_tri))
        middle = (eyes[0][0] + eyes[1][0]) / 2
        target = middle if look_at == "eyes" else middle - 0.30 * head[:, 1] + 0.1 * head[:, 2]
        if look_at == "driver":
            target = middle - np.array([0, 1.15, 0])
        shift = rng.normal(0, 0.06, 2) * half_width
        at = target + np.array([shift[0], shift[1], 0])
        distance = float(np.exp(rng.uniform(np.log(4.0), np.log(12.0))))
        camera = perspective(distance, half_width, at)
        light, kind = random_light(rng)
        if kind == "flash" and rng.random() < 0.7:  # infrared: skin bright, irises bright
            look["skin"] = 0.4 + 0.4 * look["skin"]
            look["iris"] = float(rng.uniform(0.08, 0.3))
            look["lips"] = float(rng.uniform(0.9, 1.05))
        light.update(target=middle, eye_at=at + np.array([0, 0, distance]), grain=look["grain"])
        eye_values = []
        pupil = float(rng.uniform(0.14, 0.3)) * look["iris_size"] / 0.47
        sclera = float(rng.uniform(0.3, 0.68))
        window = unit(rng.normal(0, 0.6, 3) + [0, 0.3, 0.7])
        shared = dict(iris=look["iris"], iris_size=look["iris_size"], pupil=pupil, sclera=sclera,
                      gap=0.10, glint=float(rng.uniform(0, 1.3)), window_dir=window,
                      window_size=float(rng.uniform(0.1, 0.5)),
                      pupil_bright=float(rng.uniform(0, 0.5)) if kind == "flash" else 0.0)
        for side, (c, r) in enumerate(eyes):
            turn = head @ head_rotation(gaze[0] + (2 if side == 0 else -2), gaze[1], 0)
            corner = (v[CORNERS[side][0]] + v[CORNERS[side][1]]) / 2
            eye_values.append(dict(shared, centre=c, radius=float(r), gaze=turn[:, 2],
                                   upward=head[:, 1], lid_centre=corner))
        parts = props.lashes(rng, self.rims, v, look, head, closure)
        glasses = rng.choice(["none", "clear", "dark"], p=[0.68, 0.24, 0.08]) if prop is None else "none"
        if glasses != "none":
            parts += props.glasses(rng, eyes[0][0], eyes[1][0], head, glasses == "dark")
        extra = [] if prop is None else prop(self, rng, v, head, eyes, look)
        wears = look.get("wears", "none")
        if wears in ("long", "both"):
            extra = extra + props.long_hair(rng, middle, head, look)
        if wears in ("hat", "both"):
            extra = extra + props.hat(rng, middle, head)
        if "wears" in look and rng.random() < 0.35:
            extra = extra + props.headrest(rng, middle)
        parts = extra + parts
        linear, alpha, depth, ids, bare = scene.draw(camera, light, look, eye_values, parts)
        labels = self.labels(v, head, eyes, eye_values, camera, ids, depth, bare, half_width)
        labels.update(glasses=glasses, light=kind, pose=pose, closure=closure)
        return linear, alpha, labels

    def labels(self, v, head, eyes, values, camera, ids, depth, bare, half_width):
        """What is true of the picture, in pixels and ratios."""
        out = {}
        scale = SIZE / (2 * half_width)
        for side, name in enumerate(("right", "left")):
            inner, outer = (v[i] for i in CORNERS[side])
            # the vertices lie behind the lids' meeting points by a millimetre or so each way
            inner, outer = inner + 0.10 * (outer - inner), outer + 0.04 * (inner - outer)
            inner, outer = inner + 0.10 * head[:, 2], outer + 0.10 * head[:, 2]
            width_true = float(np.linalg.norm(outer - inner)) * scale
            xy, z = project(np.array([inner, outer]), camera)
            centre = xy.mean(0)
            span = float(np.linalg.norm(xy[1] - xy[0]))
            area = float((ids == 100 + 100 * side).sum())
            opening = area / max(span, 1.0) / max(width_true, 1.0)
            x0, x1 = int(centre[0] - span / 2), int(centre[0] + span / 2) + 1
            y0, y1 = int(centre[1] - 0.25 * span), int(centre[1] + 0.25 * span) + 1
            inside = x0 >= 0 and y0 >= 0 and x1 < SIZE and y1 < SIZE and span > 8
            hidden = 1.0
            if inside:
                hidden = float((depth[y0:y1, x0:x1] < bare[y0:y1, x0:x1] - 0.002).mean())
            corner_seen = [0 <= p[0] < SIZE and 0 <= p[1] < SIZE
                           and zz < bare[int(p[1]), int(p[0])] + 0.006 for p, zz in zip(xy, z)]
            gaze = np.asarray(values[side]["gaze"])
            iris = project((eyes[side][0] + eyes[side][1] * gaze)[None], camera)[0][0]
            out[name] = dict(centre=centre, opening=opening, span=span / width_true, hidden=hidden,
                             corners=xy, corner_seen=corner_seen, iris=iris, width=width_true,
                             inside=inside)
        r, l = out["right"]["centre"], out["left"]["centre"]
        face = np.array([*(eyes[i][0] + eyes[i][1] * head[:, 2] for i in (0, 1)), v[NOSE_TIP],
                         v[MOUTH[0]], v[MOUTH[1]]])
        out["points"] = project(face, camera)[0]
        out["points"][:2] = [out["right"]["centre"], out["left"]["centre"]]
        width = np.linalg.norm(v[MOUTH[0]] - v[MOUTH[1]])
        out["mouth"] = float(max(0.0, np.linalg.norm(v[LIPS[0]] - v[LIPS[1]]) - 0.016) / width)
        mesh, _ = project(v[self.marks], camera)
        # depth towards the camera, in the same pixels
        out["mesh"] = np.concatenate([mesh, (v[self.marks] @ [0, 0, 1.0] - v[NOSE_TIP, 2])[:, None] * scale], 1)
        skull, _ = project(v[self.front], camera)
        out["box"] = np.concatenate([skull.min(0), skull.max(0)])
        seen = (depth < bare - 0.002)
        x0, y0, x1, y1 = np.clip(out["box"].astype(int), 0, SIZE - 1)
        out["face_hidden"] = float(seen[y0:y1, x0:x1].mean()) if x1 > x0 and y1 > y0 else 1.0
        out["eye_distance"] = float(np.linalg.norm(eyes[0][0] - eyes[1][0])) * scale
        out["roll_px"] = float(np.degrees(np.arctan2(l[1] - r[1], l[0] - r[0])))
        return out


def cut(picture, centre, side, out, angle=0.0, mirror=False):
    """A square of `side` pixels around a point, turned upright by `angle`, as out x out pixels."""
    a = np.radians(angle)
    k = side / out
    c, s = np.cos(a) * k, np.sin(a) * k
    m = np.array([[c, -s, 0], [s, c, 0]])
    if mirror:
        m[:, 0] *= -1
    half = (out - 1) / 2
    m[:, 2] = np.asarray(centre) - m[:, :2] @ [half, half]
    source = cv2.GaussianBlur(picture, (0, 0), 0.35 * k) if k > 1.3 else picture
    return cv2.warpAffine(source, m, (out, out), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
                          borderMode=cv2.BORDER_REPLICATE)


def background(rng, size):
    """Something behind the head: gradients, blurred boxes, noise."""
    y, x = np.mgrid[0:size, 0:size] / size
    g = rng.normal(0, 1, 2)
    out = rng.uniform(0, 1) + 0.5 * (g[0] * (x - 0.5) + g[1] * (y - 0.5))
    for _ in range(rng.integers(0, 9)):
        p = rng.uniform(-0.2, 1.0, 2)
        q = p + np.exp(rng.uniform(-3, 0, 2))
        inside = (x > p[0]) & (x < q[0]) & (y > p[1]) & (y < q[1])
        out = np.where(inside, rng.uniform(0, 1.3), out)
    out = cv2.GaussianBlur(out.astype(np.float32), (0, 0), float(np.exp(rng.uniform(-1, 3))))
    out = out + cv2.resize(rng.normal(0, 0.08, (size // 8, size // 8)).astype(np.float32), (size, size))
    return np.clip(out, 0, 2) ** 2 * float(np.exp(rng.uniform(-3, 0.3)))


def surroundings(rng, size):
    """A livelier background: from dark to brighter than skin, walls, windows, edges, texture."""
    y, x = np.mgrid[0:size, 0:size].astype(np.float32) / size
    g = rng.normal(0, 0.5, 2)
    out = rng.uniform(0.05, 1.2) + g[0] * (x - 0.5) + g[1] * (y - 0.5)
    for _ in range(rng.integers(0, 10)):
        a = rng.uniform(-0.3, 0.3) + (np.pi / 2 if rng.random() < 0.5 else 0)
        d = (x - rng.uniform(0, 1)) * np.cos(a) + (y - rng.uniform(0, 1)) * np.sin(a)
        wide = float(np.exp(rng.uniform(-4, 0)))
        inside = np.abs(d) < wide if rng.random() < 0.6 else d > 0
        out = np.where(inside, out * rng.uniform(0.1, 1) + rng.uniform(0, 0.9), out)
    for n in (4, 16, 64):
        grain = rng.normal(0, rng.uniform(0, 0.15), (n, n)).astype(np.float32)
        out = out + cv2.resize(grain, (size, size), interpolation=cv2.INTER_CUBIC)
    if rng.random() < 0.8:
        out = cv2.GaussianBlur(out.astype(np.float32), (0, 0), float(np.exp(rng.uniform(-1, 3))))
    return np.clip(out, 0, 2.5).astype(np.float32) * float(np.exp(rng.uniform(-2.0, 0.7)))


def expose(picture, alpha, rng, behind=background):
    """Puts the background in and brings skin to a middle exposure: square root, 8 bits."""
    picture = np.nan_to_num(picture)
    skin = picture[alpha > 0.5]
    level = np.percentile(skin, 90) if len(skin) else 1.0
    full = picture + (1 - np.clip(alpha, 0, 1)) * behind(rng, SIZE) * level
    full = np.nan_to_num(np.clip(full / max(level, 1e-4), 0, None))
    return np.clip(np.sqrt(full / 2.2) * 255, 0, 255).astype(np.uint8)


def random_pose(rng, wide):
    """Head pose in degrees."""
    s = 1.0 if wide else 0.7
    yaw = np.clip(rng.normal(0, 28 * s), -75, 75) if rng.random() < 0.7 else rng.uniform(-70, 70) * s
    pitch = np.clip(rng.normal(-2, 15 * s), -42, 42)
    roll = np.clip(rng.normal(0, 11 * s), -35, 35)
    return float(yaw), float(pitch), float(roll)


def eye_shard(studio, first, count):
    """Cut-outs [2 n, 160, 160] of both eyes, 2 eye distances wide, and their labels."""
    cuts, rows = [], []
    for number in range(first, first + count):
        rng = np.random.default_rng([11, number])
        identity = make_identity(studio.model, 1_000_000 + number // 3)
        pose = random_pose(rng, wide=False)
        linear, alpha, lab = studio.picture(rng, identity, pose, rng.uniform(0.8, 1.05))
        image = expose(linear, alpha, rng)
        for side, name in enumerate(("right", "left")):
            e = lab[name]
            cuts.append(cut(image, e["centre"], 2.0 * lab["eye_distance"], 160, lab["roll_px"], side == 1))
            a = np.radians(-lab["roll_px"])
            turn = np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]])
            iris = turn @ (e["iris"] - e["centre"]) / e["width"]
            if side == 1:
                iris[0] *= -1
            facing = e["span"] * (1.0 if all(e["corner_seen"]) else 0.5)
            rows.append([e["opening"], iris[0], iris[1], facing, e["hidden"],
                         ("none", "clear", "dark").index(lab["glasses"]), *lab["pose"],
                         lab["closure"][side], number // 3,
                         e["width"] / lab["eye_distance"]])
    return dict(cuts=np.array(cuts, np.uint8), rows=np.array(rows, np.float32))


def hand_over_face(studio, rng, v, head, eyes, look):
    """A hand before some part of the face, or at its side."""
    side = "R" if rng.random() < 0.5 else "L"
    sign = -1 if side == "R" else 1
    middle = (eyes[0][0] + eyes[1][0]) / 2
    x, y, z = head.T
    spot = rng.choice(["mouth", "eyes", "cheek", "brow", "chin"])
    place = dict(mouth=(0, -0.55, 0.45), eyes=(0, -0.05, 0.35), cheek=(0.55 * sign, -0.45, 0.15),
                 brow=(0.1 * sign, 0.3, 0.3), chin=(0, -0.95, 0.3))[spot] + rng.normal(0, 0.12, 3)
    palm = middle + place[0] * x + place[1] * y + (place[2] + 0.12) * z
    lean = rng.normal(0, 0.35) - 0.6 * sign
    along = unit(y + lean * x + rng.normal(0, 0.15) * z)
    facing = unit(-z - 0.4 * (spot == "cheek") * sign * x + rng.normal(0, 0.15, 3))
    return [props.hand(studio.hands[side], palm, along, facing, side)]


def any_pose(rng):
    """Head pose in degrees for the face network: as often far to the side as ahead."""
    yaw = np.clip(rng.normal(0, 22), -70, 70) if rng.random() < 0.4 else rng.uniform(-88, 88)
    pitch = np.clip(rng.normal(-2, 13), -45, 45) if rng.random() < 0.5 else rng.uniform(-58, 50)
    roll = np.clip(rng.normal(0, 10), -35, 35)
    if abs(yaw) > 60:  # no neck does both
        pitch, roll = pitch * 0.6, roll * 0.6
    return float(yaw), float(pitch), float(roll)


def face_shard(studio, first, count):
    """Cut-outs [n, 176, 176] of faces, 2.3 times the longer face side wide, and their labels.

    Columns: yaw, pitch, roll, five points x, y in face sides from the middle, mouth, share of the
    face hidden, hand or mask (0 none, 1 hand, 2 mask), glasses, identity, then x, y, depth of the
    marks on the head, in face sides as well.
    """
    cuts, rows = [], []
    for number in range(first, first + count):
        rng = np.random.default_rng([22, number])
        identity = dress(make_identity(studio.model, 2_000_000 + number // 3))
        pose = any_pose(rng)
        what = int(rng.choice([0, 1, 2], p=[0.80, 0.12, 0.08]))
        if what == 2:
            identity.look["mask"] = float(rng.uniform(0.05, 0.8))
        linear, alpha, lab = studio.picture(rng, identity, pose, rng.uniform(1.85, 2.1), "face",
                                            hand_over_face if what == 1 else None)
        image = expose(linear, alpha, rng, surroundings)
        box = lab["box"]
        middle, side = (box[:2] + box[2:]) / 2, float(max(box[2:] - box[:2]))
        cuts.append(cut(image, middle, 2.3 * side, 176))
        points = (lab["points"] - middle) / side
        mesh = (lab["mesh"] - [*middle, 0]) / side
        rows.append([*pose, *points.ravel(), lab["mouth"], lab["face_hidden"], what,
                     ("none", "clear", "dark").index(lab["glasses"]), number // 3, *mesh.ravel()])
    return dict(cuts=np.array(cuts, np.uint8), rows=np.array(rows, np.float32))


def phone_at_ear(studio, rng, v, head, eyes, look, empty=False):
    """A phone held to one ear (`empty`: only the hand)."""
    side = "R" if rng.random() < 0.5 else "L"
    sign = -1 if side == "R" else 1
    middle = (eyes[0][0] + eyes[1][0]) / 2
    x, y, z = head.T
    ear = middle + sign * (0.86 + rng.normal(0, 0.04)) * x - (0.72 + rng.normal(0, 0.08)) * z - 0.2 * y
    along = unit(y * 0.9 - z * rng.uniform(-0.1, 0.55) + sign * x * rng.uniform(0.0, 0.3))
    out_of = unit(sign * x + rng.normal(0, 0.12, 3))
    across = unit(np.cross(along, out_of))
    out_of = np.cross(across, along)
    centre = ear - 0.35 * along + 0.10 * out_of
    parts = []
    if not empty:
        parts.append(props.phone(rng, centre, across, along, out_of, False))
    palm = centre + (0.30 if not empty else 0.12) * out_of - rng.uniform(0.2, 0.75) * along
    parts.append(props.hand(studio.hands[side], palm, unit(along + 0.35 * across * rng.normal()),
                            -out_of, side))
    return parts


def phone_in_view(studio, rng, v, head, eyes, look, empty=False):
    """A phone held before the chest or beside the wheel, its screen to the face."""
    side = "R" if rng.random() < 0.5 else "L"
    sign = -1 if side == "R" else 1
    middle = (eyes[0][0] + eyes[1][0]) / 2
    centre = middle + np.array([rng.uniform(-0.4, 1.1) * sign, rng.uniform(-2.0, -0.7), rng.uniform(1.2, 2.4)])
    to_eyes = unit(middle - centre + rng.normal(0, 0.5, 3))
    up = np.array([rng.normal(0, 0.4), 1.0, rng.normal(0, 0.3)])
    across = unit(np.cross(up, to_eyes))
    along = np.cross(to_eyes, across)
    parts = []
    if not empty:
        parts.append(props.phone(rng, centre, across, along, to_eyes, rng.random() < 0.8))
    palm = centre - 0.2 * to_eyes - rng.uniform(0.6, 1.2) * along
    parts.append(props.hand(studio.hands[side], palm, unit(along + 0.3 * sign * across), to_eyes, side))
    return parts


def driver_shard(studio, first, count):
    """Cut-outs [n, 192, 192] of head and shoulders, 3.6 face sides wide, half a side below the face.

    Columns: what is held (0 nothing, 1 phone at the ear, 2 phone in view), yaw, pitch, roll, bare
    hand (0 none, 1 at the ear, 2 in view, 3 at the face), identity.
    """
    cuts, rows = [], []
    for number in range(first, first + count):
        rng = np.random.default_rng([33, number])
        identity = make_identity(studio.model, 3_000_000 + number // 3)
        held = int(rng.choice([0, 1, 2], p=[0.46, 0.27, 0.27]))
        bare = int(rng.choice([0, 1, 2, 3], p=[0.35, 0.2, 0.25, 0.2])) if held == 0 else 0
        pose = random_pose(rng, wide=False)
        if held == 2 and rng.random() < 0.6:
            pose = (pose[0], pose[1] - 15, pose[2])
        prop = {(1, 0): phone_at_ear, (2, 0): phone_in_view, (0, 3): hand_over_face,
                (0, 1): lambda *a: phone_at_ear(*a, empty=True),
                (0, 2): lambda *a: phone_in_view(*a, empty=True)}.get((held, bare))
        linear, alpha, lab = studio.picture(rng, identity, pose, rng.uniform(2.9, 3.3), "driver", prop)
        image = expose(linear, alpha, rng)
        box = lab["box"]
        side = float(max(box[2:] - box[:2]))
        middle = (box[:2] + box[2:]) / 2 + [0, 0.5 * side]
        cuts.append(cut(image, middle, 3.6 * side, 192))
        rows.append([held, *pose, bare, number // 3])
    return dict(cuts=np.array(cuts, np.uint8), rows=np.array(rows, np.float32))


SHARDS = dict(eye=eye_shard, face=face_shard, phone=driver_shard)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="where the human model is kept")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--kind", choices=SHARDS, default="eye")
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--count", type=int, default=300)
    a = parser.parse_args()
    began = time.time()
    studio = Studio(fetch(a.data))
    part = a.out.with_name("part-" + a.out.name)  # a run that is cut short leaves no half shard
    np.savez(part, **SHARDS[a.kind](studio, a.first, a.count))
    part.rename(a.out)
    print(f"{a.out}: {a.count} pictures in {time.time() - began:.0f} s")


if __name__ == "__main__":
    main()
