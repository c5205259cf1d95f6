"""Things beside the body: lashes, glasses, hands, phones, as small meshes for `scene.py`."""

import numpy as np

from body import normals


def part(v, t, uv=None, **values):
    """A mesh with the plain shader's values."""
    v = np.asarray(v, np.float32)
    uv = np.zeros((len(v), 2), np.float32) if uv is None else np.asarray(uv, np.float32)
    t = np.asarray(t, np.int32)
    defaults = dict(albedo=0.1, alpha=1.0, mirror=0.0, emit=0.0, strand=0.0, kind=0)
    return dict(v=v, n=normals(v, t), uv=uv, t=t, set=dict(defaults, **values))


def lash_rims(model):
    """The rims lashes grow from: [(side 0 right or 1 left, upper, vertices from nose outwards)]."""
    out = []
    for number, side in enumerate("rl"):
        for n in "21":
            index = np.unique(model.triangles(f"helper-{side}-eyelashes-{n}"))
            x = np.abs(model.base[index, 0])
            z = model.base[index, 2]
            rim = [i for i in range(len(index))
                   if z[i] >= z[np.abs(x - x[i]) < 0.012].max() - 0.004]
            rim = sorted(rim, key=lambda i: x[i])
            out.append((number, n == "2", index[rim]))
    return out


def lashes(rng, rims, vertices, look, head, closure):
    """Single lashes along the lids: upper ones curl up when open and hang when closed.

    `closure` is 0 to 1 for the right and the left eye; `head` the head's axes (3x3).
    """
    out = []
    for side, upper, index in rims:
        path = vertices[index]
        step = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(path, axis=0), axis=1))])
        count = int((80 if upper else 45) * look["lash_count"])
        at = np.sort(rng.uniform(0.06, 1, count))
        root = np.stack([np.interp(at * step[-1], step, path[:, k]) for k in range(3)], 1)
        root = root - 0.006 * head[:, 2]
        c = min(1.0, closure[side])
        rise = (1.0 * look["curl"] - (0.5 + 1.2 * look["curl"]) * c) if upper else -0.9
        out_x = (at - 0.4) * 1.2 * look["fan"] * (1 if side else -1) + rng.normal(0, 0.12, count)
        way = 0.75 * head[:, 2] + rise * head[:, 1] + out_x[:, None] * head[:, 0]
        way /= np.linalg.norm(way, axis=1, keepdims=True)
        length = 0.042 * look["lash_length"] * (1.0 if upper else 0.4)
        length = length * (0.5 + 0.5 * np.sin(np.pi * (0.12 + 0.75 * at))) * rng.uniform(0.7, 1.1, count)
        middle = root + way * (0.55 * length)[:, None]
        curl = 0.25 * look["curl"] * (1 if upper else -0.5) * head[:, 1]
        tip = root + (way + curl) * length[:, None]
        half = 0.5 * 0.006 * look["lash"] * (1.0 if upper else 0.7) * head[:, 0]
        v = np.stack([root - half, root + half, middle - 0.8 * half, middle + 0.8 * half, tip], 1)
        k = np.arange(count)[:, None, None] * 5
        t = (np.array([[0, 1, 2], [1, 3, 2], [2, 3, 4]]) + k).reshape(-1, 3)
        out.append(part(v.reshape(-1, 3), t, kind=1, albedo=0.012, alpha=0.9))
    return out


def tube(path, radius, closed):
    """A tube of six sides along points [n, 3]."""
    n = len(path)
    nxt = np.roll(path, -1, 0) if closed else np.concatenate([path[1:], path[-1:] * 2 - path[-2:-1]])
    prv = np.roll(path, 1, 0) if closed else np.concatenate([path[:1] * 2 - path[1:2], path[:-1]])
    d = nxt - prv
    d /= np.linalg.norm(d, axis=1, keepdims=True)
    a = np.cross(d, [0.123, 0.31, 0.94])
    a /= np.linalg.norm(a, axis=1, keepdims=True)
    b = np.cross(d, a)
    k = np.arange(6) * np.pi / 3
    ring = a[:, None] * np.cos(k)[None, :, None] + b[:, None] * np.sin(k)[None, :, None]
    v = (path[:, None] + radius * ring).reshape(-1, 3)
    i, j = np.meshgrid(np.arange(n if closed else n - 1), np.arange(6), indexing="ij")
    p, q = i * 6 + j, i * 6 + (j + 1) % 6
    r, s = ((i + 1) % n) * 6 + j, ((i + 1) % n) * 6 + (j + 1) % 6
    t = np.concatenate([np.stack([p, q, r], -1).reshape(-1, 3), np.stack([q, s, r], -1).reshape(-1, 3)])
    return v, t


def glasses(rng, right, left, head, dark):
    """Spectacles before two eye centres (in the head's own axes `head`, 3x3).

    `dark` glasses hide the eyes. Frames of wire to plastic, lenses round to square.
    """
    x, y, z = head[:, 0], head[:, 1], head[:, 2]
    width, height = rng.uniform(0.22, 0.31), rng.uniform(0.14, 0.25)
    power = rng.uniform(2, 5)
    forward = rng.uniform(0.27, 0.34)
    drop = rng.uniform(-0.06, 0.03)
    thick = float(np.exp(rng.uniform(np.log(0.008), np.log(0.04))))
    metal = dict(albedo=float(np.exp(rng.uniform(np.log(0.01), np.log(0.4)))),
                 mirror=float(rng.uniform(0, 0.25)))
    a = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    c, s = np.cos(a), np.sin(a)
    shape = lambda v: np.sign(v) * np.abs(v) ** (2 / power)
    out, rims = [], []
    tint = dict(albedo=float(rng.uniform(0.0, 0.04)), alpha=float(rng.uniform(0.9, 1.0)),
                mirror=float(rng.uniform(0.1, 1.2))) if dark else dict(
                    albedo=0.3, alpha=float(rng.uniform(0.0, 0.08)),
                    mirror=float(max(0, rng.uniform(-0.5, 0.9))))
    middle = (right + left) / 2
    for centre, sign in ((right, -1), (left, 1)):
        centre = middle + (centre - middle) * 1.05
        at = centre + forward * z + drop * y
        ring = at + width * shape(c)[:, None] * x + height * shape(s)[:, None] * y
        ring -= (np.abs((ring - middle) @ x)[:, None] ** 2) * 0.18 * z
        fan = np.concatenate([ring, [ring.mean(0)]])
        k = np.arange(40)
        tri = np.stack([k, (k + 1) % 40, np.full(40, 40)], 1)
        out.append(part(fan, tri, kind=2, **tint))
        rims.append(part(*tube(ring, thick, True), **metal))
        hinge = at + sign * width * x * 0.98 + 0.3 * height * y - 0.1 * z
        ear = middle + sign * 0.74 * x - 0.72 * z + 0.02 * y
        rims.append(part(*tube(np.linspace(hinge, ear, 6), thick, False), **metal))
    bridge = [middle + forward * z + drop * y + k * x * 0.1 + (0.05 - 4 * (k * 0.1) ** 2) * y
              for k in (-1.0, -0.5, 0, 0.5, 1.0)]
    rims.append(part(*tube(np.array(bridge), thick, False), **metal))
    return rims + out


def box(size, centre, axes, **values):
    """A box, e.g. a phone: `size` along the three `axes` (3x3, columns)."""
    v, t, uv = [], [], []
    for axis in range(3):
        for sign in (-1, 1):
            u, w = (axis + 1) % 3, (axis + 2) % 3
            first = len(v)
            for a, b in ((-1, -1), (1, -1), (1, 1), (-1, 1)):
                p = np.zeros(3)
                p[axis], p[u], p[w] = sign, a, b
                v.append(centre + axes @ (p * size / 2))
                face = axis == 2 and sign == 1
                uv.append(((a + 1) / 2, (b + 1) / 2) if face else (0, 0))
            t += [[first, first + 1, first + 2], [first, first + 2, first + 3]]
    return part(np.array(v), t, uv, **values)


def hand_mesh(model, side):
    """A hand with its forearm from the base mesh, in its own axes.

    The middle of the palm is the origin, x runs across, y towards the fingers, z out of the palm.
    Returns vertices and triangles.
    """
    weight = np.zeros(len(model.base))
    for bone, pairs in model.weights.items():
        if bone.endswith("." + side) and bone.startswith(("finger", "metacarpal", "wrist", "lowerarm")):
            for i, w in pairs:
                weight[i] += w
    tri = model.triangles("body")
    tri = tri[(weight[tri] > 0.5).all(1)]
    index = np.unique(tri)
    remap = np.zeros(len(model.base), np.int32)
    remap[index] = np.arange(len(index))
    at = lambda bone: model.bone_head(model.base, f"{bone}.{side}")
    wrist, middle = at("wrist"), at("finger3-1")
    y = (middle - wrist) / np.linalg.norm(middle - wrist)
    across = at("finger2-1") - at("finger5-1")
    z = np.cross(across, y) * (1 if side == "R" else -1)
    z /= np.linalg.norm(z)
    axes = np.stack([np.cross(y, z), y, z], 1)
    return ((model.base[index] - (wrist + middle) / 2) @ axes).astype(np.float32), remap[tri]


def hand(mesh, palm, along, facing, side):
    """The hand put at `palm`, fingers along `along`, the palm looking to `facing`."""
    v, t = mesh
    z = facing - along * (facing @ along)
    z = z / np.linalg.norm(z)
    axes = np.stack([np.cross(along, z), along, z], 1)
    out = part(v @ axes.T + palm, t)
    out["skin"] = True
    return out


def phone(rng, centre, across, along, out_of, lit):
    """A telephone: a flat box, its screen to `out_of` when `lit`."""
    size = np.array([rng.uniform(0.62, 0.82), rng.uniform(1.25, 1.65), rng.uniform(0.07, 0.12)])
    return box(size, centre, np.stack([across, along, out_of], 1),
               albedo=float(np.exp(rng.uniform(np.log(0.01), np.log(0.6)))),
               mirror=float(rng.uniform(0, 0.35)),
               emit=float(rng.uniform(0.1, 1.2)) if lit else 0.0)


def sheath(heights, radii, opening, origin, head, rng, bumps):
    """A surface around the head, open to the front: hair that hangs, a hood, a hat.

    `heights` and `radii` [n, 2] (across, front to back) of its rings, `opening` half the angle
    left open in front, both along the head's axes from `origin`.
    """
    m = 28
    a = np.linspace(opening, 2 * np.pi - opening, m)
    wave = np.interp(np.linspace(0, 8, m), np.arange(9), rng.normal(0, bumps, 9))
    x, y, z = head.T
    v, uv = [], []
    for k, (h, (rx, rz)) in enumerate(zip(heights, radii)):
        r = 1 + wave * (0.4 + 0.6 * k / len(heights)) + rng.normal(0, bumps * 0.15, m)
        v.append(origin + h * y + (np.sin(a) * rx * r)[:, None] * x + (np.cos(a) * rz * r)[:, None] * z)
        uv.append(np.stack([a, np.full(m, h)], 1))
    i, j = np.meshgrid(np.arange(len(heights) - 1), np.arange(m - 1), indexing="ij")
    p = (i * m + j).ravel()
    t = np.concatenate([np.stack([p, p + 1, p + m], 1), np.stack([p + 1, p + m + 1, p + m], 1)])
    return np.concatenate(v), t, np.concatenate(uv)


def long_hair(rng, middle, head, look):
    """Hair that hangs past the ears, behind them or before them."""
    low = rng.uniform(-2.0, -0.5)
    h = np.concatenate([[1.02, 0.95, 0.8, 0.55], np.linspace(0.2, low, 6)])
    wide = rng.uniform(0.80, 0.98)
    flare = rng.uniform(-0.1, 0.35)
    s = np.sqrt(np.clip(1 - (np.maximum(h, 0.15) - 0.15) ** 2 / 0.89 ** 2, 0.001, 1))
    s = s * (1 + flare * np.clip(-h, 0, 1.2))
    r = np.stack([wide * s, wide * 1.22 * s], 1)
    origin = middle - rng.uniform(0.72, 0.9) * head[:, 2]
    opening = rng.uniform(0.75, 1.7)
    v, t, uv = sheath(h, r, opening, origin, head, rng, rng.uniform(0.01, 0.06))
    return [part(v, t, uv, albedo=look["hair_albedo"], strand=float(rng.uniform(0.5, 1.3)))]


def hat(rng, middle, head):
    """A cap or a woollen hat; a cap has a peak."""
    albedo = float(np.exp(rng.uniform(np.log(0.015), np.log(0.6))))
    rim = rng.uniform(0.28, 0.62)
    h = np.array([rim, rim + 0.1, 0.75, 0.95, 1.08, 1.14]) + rng.uniform(0, 0.12)
    s = np.sqrt(np.clip(1 - (np.maximum(h, 0.3) - 0.3) ** 2 / (h[-1] - 0.29) ** 2, 0.0005, 1))
    wide = rng.uniform(0.86, 0.94)
    r = np.stack([wide * s, wide * 1.24 * s], 1)
    origin = middle - 0.80 * head[:, 2]
    tilt = rng.uniform(-0.05, 0.25)
    v, t, uv = sheath(h, r, 0.0, origin, head, rng, 0.012)
    v = v - (((v - origin) @ head[:, 2]) * tilt * 0.35)[:, None] * head[:, 1]
    cloth = dict(albedo=albedo, strand=float(rng.uniform(0, 0.7)))
    out = [part(v, t, uv, **cloth)]
    if rng.random() < 0.6:
        x, y, z = head.T
        a = np.linspace(-0.95, 0.95, 15)
        reach = rng.uniform(0.35, 0.65)
        inner = np.stack([np.sin(a) * wide, np.full(15, rim + 0.05), np.cos(a) * wide * 1.2], 1)
        outer = inner + np.stack([0 * a, -rng.uniform(0, 0.3) - 0.2 * a ** 2, reach * np.cos(a * 1.3)], 1)
        p = origin + np.concatenate([inner, outer]) @ np.stack([x, y, z])
        k = np.arange(14)
        t = np.concatenate([np.stack([k, k + 1, k + 15], 1), np.stack([k + 1, k + 16, k + 15], 1)])
        out.append(part(p, t, np.zeros((30, 2)), **cloth))
    return out


def headrest(rng, middle):
    """The top of a seat behind the head (in the room's axes)."""
    size = np.array([rng.uniform(1.9, 3.2), rng.uniform(1.2, 2.2), rng.uniform(0.6, 1.0)])
    at = middle + np.array([rng.normal(0, 0.25), rng.uniform(-1.0, 0.3), -rng.uniform(2.2, 3.6)])
    albedo = float(np.exp(rng.uniform(np.log(0.02), np.log(0.5))))
    return [box(size, at, np.eye(3), albedo=albedo, strand=float(rng.uniform(0, 0.4)))]
