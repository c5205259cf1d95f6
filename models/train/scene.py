"""Draws one picture of a person, and what is true about it, with OpenGL (software or not).

Brightness only: the networks see grey. Values are linear light; the camera comes later
(`augment.py`). What must hold: the picture of things (`ids`) is drawn with the same matrices as
the picture, so that labels fit to the pixel.
"""

from pathlib import Path

import cv2
import moderngl
import numpy as np

from body import normals

SHADERS = Path(__file__).resolve().parent / "shaders"
SIZE = 320
SHADOW = 640


def perspective(distance, half_width, at):
    """Camera on the z axis looking along -z at `at`; the picture spans 2 * half_width there."""
    near, far = max(0.5, distance - 6.0), distance + 9.0
    f = distance / half_width
    p = np.array([[f, 0, 0, 0], [0, f, 0, 0],
                  [0, 0, -(far + near) / (far - near), -2 * far * near / (far - near)],
                  [0, 0, -1, 0]], np.float64)
    view = np.eye(4)
    view[:3, 3] = -np.array([at[0], at[1], at[2] + distance])
    return p @ view


def orthographic(direction, at, half):
    """A light's view: parallel rays from `direction`."""
    z = direction / np.linalg.norm(direction)
    x = np.cross([0.0, 1.0, 0.01], z)
    x /= np.linalg.norm(x)
    y = np.cross(z, x)
    view = np.eye(4)
    view[:3, :3] = [x, y, z]
    view[:3, 3] = -view[:3, :3] @ at
    p = np.diag([1 / half, 1 / half, -1 / (2.2 * half), 1])
    return p @ view


def project(points, matrix, size=SIZE):
    """Pixels [n, 2] and depth [n] (0 to 1) of points."""
    h = np.concatenate([points, np.ones((len(points), 1))], 1) @ matrix.T
    ndc = h[:, :3] / h[:, 3:]
    xy = np.stack([(ndc[:, 0] + 1) / 2 * size, (1 - ndc[:, 1]) / 2 * size], 1)
    return xy, ndc[:, 2] * 0.5 + 0.5


def sphere(n=28):
    """A unit sphere: vertices and triangles."""
    a, b = np.meshgrid(np.linspace(0, np.pi, n + 1), np.linspace(0, 2 * np.pi, 2 * n + 1),
                       indexing="ij")
    v = np.stack([np.sin(a) * np.cos(b), np.cos(a), np.sin(a) * np.sin(b)], -1).reshape(-1, 3)
    w = 2 * n + 1
    i = np.arange(n)[:, None] * w + np.arange(2 * n)[None]
    i = i.ravel()
    t = np.concatenate([np.stack([i, i + 1, i + w], 1), np.stack([i + 1, i + w + 1, i + w], 1)])
    return v.astype("f4"), t.astype("i4")


class Scene:
    """An OpenGL context with the model's meshes in it."""

    def __init__(self, model):
        self.model = model
        self.gl = moderngl.create_context(standalone=True, backend="egl")
        gl = self.gl
        source = lambda n: (SHADERS / n).read_text()
        lit = "#version 330\n" + source("light.glsl")
        build = lambda v, f: gl.program(vertex_shader=source(v), fragment_shader=f)
        ident = "#version 330\n" + source("id.frag")
        self.skin = build("skin.vert", lit + source("skin.frag"))
        self.eye = build("eye.vert", lit + source("eye.frag"))
        self.plain = build("plain.vert", lit + source("plain.frag"))
        self.skin_id, self.eye_id = build("skin.vert", ident), build("eye.vert", ident)
        self.plain_id = build("plain.vert", ident)
        attach = lambda comp, kind: gl.texture((SIZE, SIZE), comp, dtype=kind)
        self.depth = gl.depth_texture((SIZE, SIZE))
        self.frame = gl.framebuffer([attach(4, "f2")], self.depth)
        self.id_frame = gl.framebuffer([attach(4, "f1")], gl.depth_texture((SIZE, SIZE)))
        self.shadow = gl.depth_texture((SHADOW, SHADOW))
        self.shadow.compare_func = "<="
        self.shadow.repeat_x = self.shadow.repeat_y = False
        self.shadow_frame = gl.framebuffer([], self.shadow)
        rng = np.random.default_rng(7)
        cloud = np.zeros((64, 64, 64), np.float32)
        for step, weight in ((1, 0.35), (2, 0.3), (4, 0.2), (8, 0.15)):
            part = rng.uniform(0, 1, (64 // step,) * 3)
            cloud += weight * part.repeat(step, 0).repeat(step, 1).repeat(step, 2)
        cloud = (cloud - cloud.min()) / (cloud.max() - cloud.min())
        self.noise = gl.texture3d((64, 64, 64), 1, (cloud * 255).astype(np.uint8).tobytes())
        self.noise.filter = moderngl.LINEAR, moderngl.LINEAR
        self._meshes()

    def _meshes(self):
        m, gl = self.model, self.gl
        tri = m.triangles("body")
        inner = np.concatenate([m.triangles(g) for g in ("helper-upper-teeth", "helper-lower-teeth",
                                                         "helper-tongue")])
        self.smooth_tri = np.concatenate([tri, inner])
        keep = m.base[tri][:, :, 1].min(1) > 3.5
        self.skin_tri = tri[keep]
        p = m.base[tri].mean(1)
        head = (p[:, 1] > 6.0) & (np.abs(p[:, 0]) < 1.2)
        self.hair_tri = tri[head & (p[:, 1] > 6.4) & ((p[:, 2] < 0.95) | (p[:, 1] > 7.55))]
        self.beard_tri = tri[head & (p[:, 1] < 7.05) & (p[:, 2] > 0.45)]
        uv = np.zeros((len(m.base), 2), np.float32)
        for quad, corner in zip(m.groups["body"], m.group_uv["body"]):
            uv[quad] = m.uv[corner]
        sample = lambda name: self._sample(name, uv)
        paint = np.zeros((len(m.base), 4), np.float32)
        paint[:, 0] = sample("lips")
        paint[:, 2] = 1
        paint[:, 3] = self._lid_margin()
        self.vbo = gl.buffer(reserve=len(m.base) * 24)
        self.rest = gl.buffer(np.concatenate([m.base, paint], 1).astype("f4").tobytes())
        v, t = sphere()
        self.ball = gl.buffer(v.tobytes())
        ball_index = gl.buffer(t.tobytes())
        skin_index = gl.buffer(self.skin_tri.tobytes())
        hair_index = gl.buffer(self.hair_tri.tobytes())
        beard_index = gl.buffer(self.beard_tri.tobytes())
        inner_index = gl.buffer(inner.astype("i4").tobytes())
        form = [(self.vbo, "3f 3f", "in_pos", "in_normal"), (self.rest, "3f 4f", "in_rest", "in_paint")]
        array = lambda p, i, f: gl.vertex_array(p, f, i, skip_errors=True)
        self.va_skin = array(self.skin, skin_index, form)
        self.va_hair = array(self.skin, hair_index, form)
        self.va_beard = array(self.skin, beard_index, form)
        self.va_inner = array(self.skin, inner_index, form)
        self.va_skin_id = array(self.skin_id, skin_index, form)
        self.va_eye = array(self.eye, ball_index, [(self.ball, "3f", "in_pos")])
        self.va_eye_id = array(self.eye_id, ball_index, [(self.ball, "3f", "in_pos")])
        self._occlusion(paint)

    def _sample(self, name, uv):
        image = cv2.imread(str(self.model.root / f"textures/mpfb_{name}.jpg"), 0)
        h, w = image.shape
        x = np.clip((uv[:, 0] * w).astype(int), 0, w - 1)
        y = np.clip(((1 - uv[:, 1]) * h).astype(int), 0, h - 1)
        return image[y, x].astype(np.float32) / 255

    def _lid_margin(self):
        """1 at the lids' rims, fading within a millimetre or two."""
        m = self.model
        root = []
        for s in "lr":
            for n in "12":
                root.append(np.unique(np.concatenate(m.groups[f"helper-{s}-eyelashes-{n}"])))
        root = m.base[np.concatenate(root)]
        out = np.zeros(len(m.base), np.float32)
        near = (np.abs(m.base[:, 0]) < 0.6) & (np.abs(m.base[:, 1] - 7.29) < 0.25) & (m.base[:, 2] > 1)
        d = np.linalg.norm(m.base[near][:, None] - root[None], axis=2).min(1)
        out[near] = np.clip(1 - d / 0.016, 0, 1)
        return out

    def _occlusion(self, paint):
        """How open each vertex of the neutral mesh lies to the sky around (ambient occlusion)."""
        m = self.model
        rng = np.random.default_rng(3)
        total = np.zeros(len(m.base))
        seen = np.zeros(len(m.base))
        n = normals(m.base, self.smooth_tri)
        self.upload(m.base, n)
        for _ in range(80):
            d = rng.normal(size=3)
            d /= np.linalg.norm(d)
            matrix = orthographic(d, np.array([0, 6.5, 0.6]), 3.2)
            self._draw_shadow(matrix, [])
            depth = np.frombuffer(self.shadow.read(alignment=1), "f4").reshape(SHADOW, SHADOW)
            p = m.base + 0.03 * n
            xy, z = project(p, matrix, SHADOW)
            x = np.clip(xy[:, 0].astype(int), 0, SHADOW - 1)
            y = np.clip(SHADOW - 1 - xy[:, 1].astype(int), 0, SHADOW - 1)
            cos = np.maximum(n @ d, 0)
            total += cos
            seen += cos * (z <= depth[y, x] + 0.002)
        paint[:, 2] = np.clip(0.08 + 0.92 * seen / np.maximum(total, 1e-6), 0, 1)
        # the upper lid lies folded away on the neutral mesh: closed, it must not stay dark
        e = (np.abs(m.base[:, :2] * [1, 1]) - [0.31, 7.31]) / [0.24, 0.15]
        lid = np.exp(-(e ** 2).sum(1)) * (m.base[:, 2] > 1.1)
        paint[:, 2] = np.maximum(paint[:, 2], 0.72 * np.minimum(1, 1.5 * lid))
        self.rest.write(np.concatenate([m.base, paint], 1).astype("f4").tobytes())

    def upload(self, vertices, normal):
        """Puts the posed mesh onto the device."""
        self.vbo.write(np.concatenate([vertices, normal], 1).astype("f4").tobytes())

    def _draw_shadow(self, matrix, extra):
        self.shadow_frame.use()
        self.gl.viewport = (0, 0, SHADOW, SHADOW)
        self.shadow_frame.clear(depth=1.0)
        self.gl.enable(moderngl.DEPTH_TEST)
        self.skin_id["view_proj"].write(matrix.T.astype("f4").tobytes())
        self._set(self.skin_id, dict(shell=0.0))
        self.va_skin_id.render()
        for part in extra:
            self._set(self.plain_id, dict(view_proj=matrix))
            self._array(self.plain_id, part).render()

    def _set(self, program, values):
        for key, value in values.items():
            if key in program:
                if isinstance(value, np.ndarray) and value.shape == (4, 4):
                    program[key].write(value.T.astype("f4").tobytes())
                elif np.ndim(value) == 1:
                    program[key].value = tuple(float(x) for x in value)
                else:
                    program[key].value = value

    def _array(self, program, part):
        v = np.concatenate([part["v"], part["n"], part["uv"]], 1).astype("f4")
        return self.gl.vertex_array(
            program, [(self.gl.buffer(v.tobytes()), "3f 3f 2f", "in_pos", "in_normal", "in_uv")],
            self.gl.buffer(part["t"].astype("i4").tobytes()), skip_errors=True)

    def draw(self, camera, light, look, eyes, parts):
        """One picture.

        `camera` 4x4, `light` and `look` the shaders' values, `eyes` two dicts of the eye shader's
        values, `parts` further meshes (lashes, glasses, hands, phones) in drawing order, each with
        `v`, `n`, `uv`, `t` and values. Returns (picture [SIZE, SIZE] linear light, alpha,
        depth of everything, ids of body and eyeballs alone, their depth).
        """
        gl = self.gl
        opaque = [p for p in parts if p["set"].get("kind", 0) == 0]
        lightm = orthographic(np.array(light["key_dir"]), light["target"], 3.0)
        self._draw_shadow(lightm, [p for p in opaque])
        common = dict(light, view_proj=camera, shadow_proj=lightm)
        self.frame.use()
        gl.viewport = (0, 0, SIZE, SIZE)
        self.frame.clear(0, 0, 0, 0, depth=1.0)
        gl.enable(moderngl.DEPTH_TEST)
        gl.disable(moderngl.BLEND)
        self.shadow.use(0)
        self.noise.use(1)
        for p in (self.skin, self.eye, self.plain):
            self._set(p, dict(shadow_map=0, noise=1))
        fur = 0.0 if look["hair"] == "bald" else 1.0
        base = dict(common, full=0.0, beard_top=0.0, puff=0.0)
        base.update({k: v for k, v in look.items() if not isinstance(v, str)})
        self._set(self.skin, dict(base, shell=0.0, shell_part=0.0, fur=fur, hand=0.0,
                                  comb=(0, 0, 0)))
        # depth first: the skin's shader is dear, and runs once for each pixel this way
        self._set(self.skin_id, dict(view_proj=camera, shell=0.0))
        self.frame.color_mask = (False,) * 4
        self.va_skin_id.render()
        self.frame.color_mask = (True,) * 4
        gl.depth_func = "<="
        self.va_skin.render()
        self._set(self.skin, dict(skin=0.55, lips=1.0, hand=1.0, fur=0.0, freckle=0.0, mask=0.0,
                                  full=0.0))
        self.va_inner.render()
        self._set(self.skin, dict(base, fur=fur, hand=0.0))
        if fur:
            layers = 6 if look.get("puff", 0) == 0 else 9
            for i in range(1, layers + 1):
                part = i / layers
                self._set(self.skin, dict(shell=float(part * look["hair_length"]), shell_part=part,
                                          comb=tuple(look["comb"])))
                self.va_hair.render()
        full = look.get("full", 0.0)
        if look["beard"] > 0.55 or full:
            length = look["beard_length"] if full else 0.12 * look["beard"]
            for i in range(1, 4):
                self._set(self.skin, dict(shell=float(i / 3 * length), shell_part=i / 3, fur=2.0,
                                          comb=(0, -1.5, 0) if full else tuple(look["comb"])))
                self.va_beard.render()
        for e in eyes:
            self._set(self.eye, dict(common, grain=look["grain"], **e))
            self.va_eye.render()
        gl.blend_func = moderngl.SRC_ALPHA, moderngl.ONE_MINUS_SRC_ALPHA, moderngl.ONE, moderngl.ONE
        for part in parts:
            if part.get("skin"):
                self._draw_hand(part, base)
                continue
            blend = part["set"].get("kind", 0) != 0
            (gl.enable if blend else gl.disable)(moderngl.BLEND)
            self.frame.depth_mask = not blend
            self._set(self.plain, dict(common, grain=look["grain"], **part["set"]))
            if part["set"].get("kind") == 1:  # lashes lie in front of the lid they grow from
                gl.polygon_offset = -2.0, -40.0
            self._array(self.plain, part).render()
            gl.polygon_offset = 0.0, 0.0
        self.frame.depth_mask = True
        gl.disable(moderngl.BLEND)
        picture = np.frombuffer(self.frame.read(components=4, dtype="f2", alignment=1), "f2")
        picture = picture.reshape(SIZE, SIZE, 4)[::-1].astype(np.float32)
        depth = np.frombuffer(self.depth.read(alignment=1), "f4").reshape(SIZE, SIZE)[::-1]
        ids, bare = self._ids(camera, eyes)
        return picture[..., 0], picture[..., 3], depth, ids, bare

    def _draw_hand(self, part, base):
        """A piece of skin that is not part of the body's own mesh."""
        v = np.concatenate([part["v"], part["n"]], 1).astype("f4")
        rest = np.concatenate([part["v"] * 0.7, np.tile([0, 0, 0.9, 0], (len(part["v"]), 1))], 1)
        array = self.gl.vertex_array(
            self.skin, [(self.gl.buffer(v.tobytes()), "3f 3f", "in_pos", "in_normal"),
                        (self.gl.buffer(rest.astype("f4").tobytes()), "3f 4f", "in_rest", "in_paint")],
            self.gl.buffer(part["t"].astype("i4").tobytes()), skip_errors=True)
        self._set(self.skin, dict(base, shell=0.0, shell_part=0.0, fur=0.0, hand=1.0,
                                  **{k: 0.0 for k in ("brow", "bags", "beard", "crease", "wrinkle", "mask", "full")},
                                  lid_shadow=1.0))
        array.render()

    def _ids(self, camera, eyes):
        self.id_frame.use()
        self.id_frame.clear(0, 0, 0, 0, depth=1.0)
        self._set(self.skin_id, dict(view_proj=camera, shell=0.0, flat_id=50 / 255))
        self.va_skin_id.render()
        for i, e in enumerate(eyes):
            self._set(self.eye_id, dict(e, view_proj=camera, flat_id=(100 + 100 * i) / 255))
            self.va_eye_id.render()
        ids = np.frombuffer(self.id_frame.read(components=1, alignment=1), "u1")
        depth = np.frombuffer(self.id_frame.depth_attachment.read(alignment=1), "f4")
        return ids.reshape(SIZE, SIZE)[::-1], depth.reshape(SIZE, SIZE)[::-1]
