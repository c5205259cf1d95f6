"""What a cheap camera and a careless installer do to a picture.

All functions take and give float32 grey pictures, 0 to 1, and draw from the generator given.
"""

import cv2
import numpy as np


def blob(rng, size, centre=None, radius=None):
    """A soft round mask."""
    y, x = np.mgrid[0:size, 0:size].astype(np.float32) / size
    c = rng.uniform(0, 1, 2) if centre is None else centre
    r = float(np.exp(rng.uniform(-3, -0.7))) if radius is None else radius
    s = np.exp(rng.normal(0, 0.4))
    return np.exp(-(((x - c[0]) / r * s) ** 2 + ((y - c[1]) / r / s) ** 2))


def bar(rng, size, through=None):
    """A mask of a straight bar (belt, mullion, arm) of random width and direction."""
    y, x = np.mgrid[0:size, 0:size].astype(np.float32) / size
    a = rng.uniform(0, np.pi)
    c = rng.uniform(0, 1, 2) if through is None else through
    d = np.abs((x - c[0]) * np.cos(a) + (y - c[1]) * np.sin(a))
    return (d < rng.uniform(0.04, 0.2)).astype(np.float32)


def motion(rng, image, length):
    """Blur along a line of `length` pixels."""
    n = int(length) | 1
    k = np.zeros((n, n), np.float32)
    a = rng.uniform(0, np.pi)
    h = n // 2
    d = np.array([np.cos(a), np.sin(a)]) * h
    cv2.line(k, tuple(int(round(v)) for v in (h - d[0], h - d[1])),
             tuple(int(round(v)) for v in (h + d[0], h + d[1])), 1.0)
    return cv2.filter2D(image, -1, k / k.sum(), borderType=cv2.BORDER_REPLICATE)


def tone(rng, image):
    """Exposure, contrast, gamma, and light that changes across the picture."""
    size = image.shape[0]
    gamma = float(np.exp(rng.normal(0, 0.35)))
    out = np.clip(image, 0, 1) ** gamma
    if rng.random() < 0.5:
        y, x = np.mgrid[0:size, 0:size].astype(np.float32) / size - 0.5
        a, k = rng.uniform(0, 2 * np.pi), rng.uniform(0, 1.3)
        out = out * np.exp(k * (x * np.cos(a) + y * np.sin(a)))
    if rng.random() < 0.3:
        out = 1 / (1 + np.exp(-(out - rng.uniform(0.2, 0.6)) * rng.uniform(4, 10)))
    bright = rng.uniform(0.35, 0.95) if rng.random() < 0.85 else rng.uniform(0.12, 1.3)
    gain = bright / max(float(np.percentile(out, 85)), 0.02)
    lift = rng.uniform(-0.12, 0.2) if rng.random() < 0.5 else 0.0
    contrast = rng.uniform(0.3, 1.0) if rng.random() < 0.3 else 1.0
    return (out * gain - 0.4) * contrast + 0.4 + lift


def camera(rng, image, pixels, harsh=0.0):
    """Optics, sensor and compression.

    `pixels` is how many real pixels the picture has on a side before it was resized.
    """
    size = image.shape[0]
    small = image
    if pixels < size:
        small = cv2.resize(image, (pixels, pixels), interpolation=cv2.INTER_AREA)
    if rng.random() < 0.4:
        s = float(np.exp(rng.uniform(np.log(0.3), np.log(1.6))))
        small = cv2.GaussianBlur(small, (0, 0), s)
    if rng.random() < 0.2 + harsh * 0.3:
        small = motion(rng, small, rng.uniform(2, 3 + pixels * 0.10))
    if rng.random() < 0.15:
        soft = cv2.GaussianBlur(small, (0, 0), 1.2)
        small = small + rng.uniform(0.3, 1.5) * (small - soft)
    if rng.random() < 0.7:
        sigma = float(np.exp(rng.uniform(np.log(0.004), np.log(0.07))))
        grain = rng.normal(0, sigma, small.shape).astype(np.float32)
        if rng.random() < 0.4:
            grain = cv2.GaussianBlur(grain, (0, 0), 0.8) * 1.6
        small = small + grain * np.sqrt(np.clip(small, 0.03, 1) * 1.5)
    small = np.clip(small, 0, 1)
    if rng.random() < 0.5:
        ok, data = cv2.imencode(".jpg", (small * 255).astype(np.uint8),
                                [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(18, 95))])
        if ok:
            small = cv2.imdecode(data, 0).astype(np.float32) / 255
    if small.shape[0] != size:
        how = cv2.INTER_CUBIC if rng.random() < 0.4 else cv2.INTER_LINEAR
        small = cv2.resize(small, (size, size), interpolation=how)
    return np.clip(small, 0, 1)


def darkness(rng, image):
    """So dark that little but the sensor's noise is left."""
    out = image * rng.uniform(0.0, 0.03)
    out = out + rng.normal(0, rng.uniform(0.01, 0.05), image.shape) + rng.uniform(0, 0.08)
    return np.clip(out * rng.uniform(1, 4), 0, 1).astype(np.float32)
