"""The networks: small plain convolutions, grey in, a few numbers out.

Each takes one batch-1 picture of values 0 to 1. It sees the picture twice: as it is, and evened
out to mean 0 and spread 1, so that exposure matters only where it hides something.
"""

import torch
from torch import nn


def conv(i, o, stride=1, groups=1):
    """3 x 3 convolution, batch norm, ReLU."""
    return nn.Sequential(nn.Conv2d(i, o, 3, stride, 1, groups=groups, bias=False),
                         nn.BatchNorm2d(o), nn.ReLU())


class Residual(nn.Module):
    """x + conv(x)."""

    def __init__(self, n):
        super().__init__()
        self.inner = conv(n, n)

    def forward(self, x):
        return x + self.inner(x)


def both(x):
    """The picture as it is, and evened out."""
    mean = x.mean((2, 3), keepdim=True)
    spread = ((x - mean) ** 2).mean((2, 3), keepdim=True)
    return torch.cat([(x - mean) / torch.sqrt(spread + 1e-4), x * 2 - 1], 1)


class EyeState(nn.Module):
    """64 x 64 eye square -> opening, seen, iris."""

    INPUT, OUTPUTS, SIZE = "eye", ("opening", "seen", "iris"), 64

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            conv(2, 16, 2), conv(16, 32, 2), Residual(32), conv(32, 48, 2), Residual(48),
            conv(48, 64, 2), nn.Conv2d(64, 16, 1), nn.ReLU(), nn.Flatten(),
            nn.Linear(256, 64), nn.ReLU(), nn.Dropout(0.1))
        self.head = nn.Linear(64, 4)

    def raw(self, x):
        """Opening / 0.1, the logit of seen, iris / 0.1."""
        return self.head(self.body(both(x)))

    def forward(self, x):
        y = self.raw(x)
        return torch.clamp(y[:, :1] * 0.1, 0, 1), torch.sigmoid(y[:, 1:2]), y[:, 2:] * 0.1

    @staticmethod
    def loss(y, t):
        """Mean loss of raw outputs for label rows of `dataset.EyeSet`."""
        f = nn.functional
        opening = f.smooth_l1_loss(y[:, 0], t[:, 0] * 10, reduction="none", beta=0.2)
        iris = f.smooth_l1_loss(y[:, 2:], t[:, 1:3] * 10, reduction="none", beta=0.5).sum(1)
        seen = f.binary_cross_entropy_with_logits(y[:, 1], t[:, 3], reduction="none")
        return (opening * t[:, 4] * 2 + iris * t[:, 6] + seen * t[:, 5]).mean()


class FaceState(nn.Module):
    """80 x 80 face square -> pose, points, mouth, face, covered."""

    INPUT, OUTPUTS, SIZE = "square", ("pose", "points", "mouth", "face", "covered"), 80

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            conv(2, 16, 2), conv(16, 24, 2), Residual(24), conv(24, 40, 2), Residual(40),
            Residual(40), conv(40, 64, 2), Residual(64), nn.Conv2d(64, 24, 1), nn.ReLU(),
            nn.Flatten(), nn.Linear(600, 96), nn.ReLU(), nn.Dropout(0.1))
        self.head = nn.Linear(96, 16)

    def raw(self, x):
        """Pose / 20 degrees, points - 0.5, mouth, logits of face and covered."""
        return self.head(self.body(both(x)))

    def forward(self, x):
        y = self.raw(x)
        return (y[:, :3] * 20, y[:, 3:13] * 0.3 + 0.5, torch.clamp(y[:, 13:14], 0, 2),
                torch.sigmoid(y[:, 14:15]), torch.sigmoid(y[:, 15:16]))

    @staticmethod
    def loss(y, t):
        """Mean loss of raw outputs for label rows of `dataset.FaceSet`."""
        f = nn.functional
        near = lambda a, b, beta: f.smooth_l1_loss(a, b, reduction="none", beta=beta).sum(1)
        pose = near(y[:, :3], t[:, :3] / 20, 0.2)
        points = near(y[:, 3:13], (t[:, 3:13] - 0.5) / 0.3, 0.1)
        mouth = near(y[:, 13:14], t[:, 13:14], 0.1)
        yes = f.binary_cross_entropy_with_logits(y[:, 14:16], t[:, 14:16], reduction="none")
        return (2 * pose * t[:, 16] + 0.7 * points * t[:, 17] + 5 * mouth * t[:, 18]
                + yes[:, 0] * t[:, 19] + 2 * yes[:, 1] * t[:, 20]).mean()


class Phone(nn.Module):
    """128 x 128 square of the driver -> phone: none, at the ear, in hand in view."""

    INPUT, OUTPUTS, SIZE = "driver", ("phone",), 128

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            conv(2, 12, 2), conv(12, 20, 2), Residual(20), conv(20, 32, 2), Residual(32),
            conv(32, 48, 2), Residual(48), conv(48, 64, 2), nn.Conv2d(64, 32, 1), nn.ReLU(),
            nn.Flatten(), nn.Dropout(0.2), nn.Linear(512, 64), nn.ReLU(), nn.Dropout(0.2))
        self.head = nn.Linear(64, 3)

    def raw(self, x):
        """Logits."""
        return self.head(self.body(both(x)))

    def forward(self, x):
        return torch.softmax(self.raw(x), 1)

    @staticmethod
    def loss(y, t):
        """Mean cross entropy."""
        return nn.functional.cross_entropy(y, t[:, 0].long(), label_smoothing=0.02)


NETWORKS = dict(eye=EyeState, face=FaceState, phone=Phone)
