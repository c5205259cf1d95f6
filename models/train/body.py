"""Makes random people of the base mesh: shape, expression, eyelids, posture.

What must hold: every choice comes from the generator given, so the same seed makes the same
people. An identity (shape, skin, hair) is drawn apart from what changes from picture to picture
(expression, pose), so that identities can be held out.
"""

from dataclasses import dataclass, field

import numpy as np

RACES = ("african", "asian", "caucasian")
# Targets that make a face somebody's, as pairs "decr/incr" and the like. Half the range of
# MakeHuman's sliders is enough to look like many people and rarely like a caricature.
PAIRS = (("decr", "incr"), ("down", "up"), ("in", "out"), ("backward", "forward"),
         ("concave", "convex"))
LOCAL = ("cheek", "chin", "eyes", "forehead", "head", "mouth", "nose", "neck", "eyebrows", "ears")
NOT_LOCAL = ("head-trans", "eyes-trans", "neck-trans", "mouth-trans-in", "head-angle", "chin-cleft")


def rotation(axis, degrees):
    """Right-handed rotation matrix about the x (0), y (1) or z (2) axis."""
    a = np.radians(degrees)
    c, s = np.cos(a), np.sin(a)
    i, j = [(1, 2), (2, 0), (0, 1)][axis]
    m = np.eye(3, dtype=np.float32)
    m[i, i], m[i, j], m[j, i], m[j, j] = c, -s, s, c
    return m


def head_rotation(yaw, pitch, roll):
    """Head pose in degrees, in the project's sense, as a rotation in camera axes.

    Camera axes: x right in the picture, y up, z towards the camera. Yaw positive to the driver's
    left (right in the picture), pitch positive up, roll positive towards the right shoulder.
    """
    return rotation(2, roll) @ rotation(1, yaw) @ rotation(0, -pitch)


@dataclass
class Identity:
    """What stays the same of a person."""

    seed: int
    targets: list
    look: dict = field(default_factory=dict)


def local_pairs(model):
    """Opposed local targets of the face: [(key of less, key of more)]."""
    out = []
    for key in model.targets:
        group, _, name = key.partition("/")
        if group not in LOCAL or name.startswith(NOT_LOCAL):
            continue
        for less, more in PAIRS:
            if name.endswith("-" + less):
                other = f"{group}/{name[: -len(less)]}{more}"
                if other in model.targets:
                    out.append((key, other))
    return out


def make_identity(model, seed):
    """Draws an identity. The same seed gives the same person."""
    rng = np.random.default_rng(seed)
    race = rng.dirichlet((0.35, 0.35, 0.35))
    male = float(np.clip(rng.beta(0.4, 0.4), 0, 1))
    old = float(rng.uniform(0, 1) ** 1.5)
    weight = rng.uniform(-1, 1)
    muscle = rng.uniform(-0.7, 0.7)
    targets = []
    for r, rw in zip(RACES, race):
        for g, gw in (("male", male), ("female", 1 - male)):
            for a, aw in (("old", old), ("young", 1 - old)):
                targets.append((f"macrodetails/{r}-{g}-{a}", rw * gw * aw))
    three = lambda x: {"min": max(0, -x), "average": 1 - abs(x), "max": max(0, x)}
    for g, gw in (("male", male), ("female", 1 - male)):
        for a, aw in (("old", old), ("young", 1 - old)):
            for m, mw in three(muscle).items():
                for w, ww in three(weight).items():
                    key = f"macrodetails/universal-{g}-{a}-{m}muscle-{w}weight"
                    targets.append((key, gw * aw * mw * ww))
    for less, more in local_pairs(model):
        if "/l-" in less:
            continue
        value = np.clip(rng.normal(0, 0.3), -0.8, 0.8)
        if rng.random() < 0.4:
            continue
        if "/r-" in less:
            side = value + rng.normal(0, 0.05)
            targets.append(((more if side > 0 else less).replace("/r-", "/l-"), abs(side)))
        targets.append((more if value > 0 else less, abs(value)))
    for name in ("round", "oval", "square", "triangular", "rectangular", "diamond"):
        if rng.random() < 0.25:
            targets.append((f"head/head-{name}", rng.uniform(0, 0.8)))
    dark = race[0] + 0.4 * race[1] * rng.random()
    hair = rng.choice(["bald", "short", "short", "short", "long", "long", "curly"])
    look = dict(
        skin=float(np.clip(rng.normal(0.55 - 0.38 * dark, 0.08), 0.06, 0.75)),
        lips=float(rng.uniform(0.45, 1.0)),
        lid_shadow=float(rng.uniform(0.8, 1.05)),
        bags=float(rng.uniform(0, 0.3)),
        wrinkle=float(old * rng.uniform(0.3, 1.0)),
        freckle=float(rng.uniform(0, 0.25)),
        iris=float(np.exp(rng.uniform(np.log(0.008), np.log(0.13)))),
        iris_size=float(rng.uniform(0.43, 0.52)),
        hair=str(hair),
        hair_albedo=float(np.exp(rng.uniform(np.log(0.01), np.log(0.3)))),
        hair_line=float(rng.uniform(-0.3, 0.15)),
        hair_length=float(rng.uniform(0.04, 0.22)),
        brow=float(rng.uniform(0.15, 1.0)),
        brow_height=float(rng.uniform(-0.035, 0.05)),
        brow_thick=float(rng.uniform(0.018, 0.04)),
        brow_slope=float(rng.uniform(-0.1, 0.35)),
        lash=float(rng.uniform(0.3, 1.5)),
        lash_length=float(rng.uniform(0.5, 2.4)),
        curl=float(rng.uniform(0.1, 1.0)),
        fan=float(rng.uniform(0.2, 1.2)),
        lash_count=float(rng.uniform(0.5, 1.3)),
        gloss=float(rng.uniform(0.1, 1.0)),
        comb=tuple(rng.normal(0, 1.0, 3) + [0, -1.0, -0.5]),
        liner=float(max(0, rng.uniform(-2.0, 0.9))),
        beard=float(max(0, rng.uniform(-1, 1)) if male > 0.5 else 0),
        cloth=float(rng.uniform(0.03, 0.7)),
        collar=float(rng.uniform(5.2, 5.9)),
        grain=float(rng.uniform(0, 100)),
        crease=float(rng.uniform(0, 1)),
        mask=0.0,
    )
    look["brow_albedo"] = look["hair_albedo"] * 0.8 if rng.random() < 0.7 else 0.02
    return Identity(seed, [(k, float(w)) for k, w in targets if w > 1e-3 and k in model.targets],
                    look)


def dress(identity):
    """Beards, hair and hats of many kinds, for the face network: the same for the same person.

    More local shape as well: profiles differ more than the plain identity's do.
    """
    rng = np.random.default_rng([identity.seed, 5])
    look = identity.look
    identity.targets = [(k, w * 1.35 if k.split("/")[0] in ("nose", "chin", "cheek", "ears", "mouth")
                         else w) for k, w in identity.targets]
    if rng.random() < 0.6:
        look["hair_albedo"] = float(np.exp(rng.uniform(np.log(0.008), np.log(0.08))))
    if rng.random() < 0.75:
        look["brow_albedo"] = look["hair_albedo"] * 0.8
    look["hair_length"] = float(np.exp(rng.uniform(np.log(0.03), np.log(0.55))))
    look["puff"] = float(rng.uniform(0.3, 1.0))
    look["comb"] = tuple(rng.normal(0, 1.0, 3) + [0, rng.choice([-1.0, 1.0]), -0.7])
    look["brow_thick"] *= float(rng.uniform(0.8, 1.6))
    kind = rng.choice(["none", "stubble", "full"], p=[0.52, 0.18, 0.30])
    if kind == "full":
        look["full"] = float(rng.uniform(0.35, 1.5))
        look["beard_top"] = float(rng.normal(-0.06, 0.09))
        look["beard_length"] = float(np.exp(rng.uniform(np.log(0.02), np.log(0.4))))
        look["beard"] = 0.0
    elif kind == "stubble":
        look["beard"] = float(rng.uniform(0.2, 1.0))
    else:
        look["beard"] = 0.0
    look["wears"] = str(rng.choice(["none", "long", "hat", "both"], p=[0.58, 0.22, 0.15, 0.05]))
    return identity


class Body:
    """Turns an identity, an expression and a posture into vertices."""

    def __init__(self, model):
        self.model = model
        self._cached = (None, None)

    def shape(self, identity):
        """The neutral mesh of a person [19158, 3]."""
        if self._cached[0] != identity.seed:
            v = self.model.base.copy()
            for key, weight in identity.targets:
                index, offset = self.model.target(key)
                v[index] += weight * offset
            self._cached = (identity.seed, v)
        return self._cached[1]

    def express(self, neutral, units):
        """Adds expression units {name: weight} to a neutral mesh."""
        v = neutral.copy()
        for name, weight in units.items():
            if weight:
                index, offset = self.model.target("unit/" + name)
                v[index] += np.float32(weight) * offset
        return v

    def bone_weights(self, driven):
        """Weights [vertices, bones] of the driven bones: each other bone follows its parent."""
        key = tuple(driven)
        if getattr(self, "_weight_key", None) == key:
            return self._weight
        column = {b: i for i, b in enumerate(driven)}
        w = np.zeros((len(self.model.base), len(driven)), np.float32)
        for bone, pairs in self.model.weights.items():
            owner = bone
            while owner and owner not in column:
                owner = self.model.bones[owner]["parent"]
            if not owner:
                continue
            for index, weight in pairs:
                w[index, column[owner]] += weight
        # helper geometry without weights goes with the head if it is at the head
        free = w.sum(1) < 0.5
        w[free] = 0
        high = self.model.base[:, 1] > 6.0
        w[free & high, column["head"]] = 1
        rest = 1 - w.sum(1, keepdims=True)
        self._weight_key, self._weight = key, np.concatenate([w, rest], 1)
        return self._weight

    def pose(self, vertices, rotations):
        """Turns bones: {bone: 3x3 rotation about its head}, parents before children."""
        driven = list(rotations)
        weight = self.bone_weights(driven)
        turn, move = {}, {}
        for bone in driven:
            parent = self.model.bones[bone]["parent"]
            while parent and parent not in turn:
                parent = self.model.bones[parent]["parent"]
            r0, t0 = (turn[parent], move[parent]) if parent else (np.eye(3), np.zeros(3))
            at = self.model.bone_head(vertices, bone)
            r = rotations[bone]
            turn[bone] = r0 @ r
            move[bone] = r0 @ (at - r @ at) + t0
        out = weight[:, -1:] * vertices
        for i, bone in enumerate(driven):
            out += weight[:, i : i + 1] * (vertices @ turn[bone].T + move[bone]).astype(np.float32)
        return out.astype(np.float32)


def normals(vertices, triangles):
    """Vertex normals [n, 3] by the triangles' areas."""
    a, b, c = (vertices[triangles[:, i]] for i in range(3))
    face = np.cross(b - a, c - a)
    out = np.stack(
        [np.bincount(triangles.ravel(), np.repeat(face[:, k], 3), len(vertices)) for k in range(3)],
        1)
    return (out / np.maximum(np.linalg.norm(out, axis=1, keepdims=True), 1e-9)).astype(np.float32)
