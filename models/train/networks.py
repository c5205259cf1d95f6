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


def box_mean(x):
    """The mean of the 9 x 9 pixels around each point, of those that are in the picture."""
    pool = nn.functional.avg_pool2d
    across = pool(x, (1, 9), 1, (0, 4), count_include_pad=False)
    return pool(across, (9, 1), 1, (4, 0), count_include_pad=False)


def local(x):
    """The picture evened out around each point: light from the side matters less."""
    off = x - box_mean(x)
    return off / torch.sqrt(box_mean(off ** 2) + 1e-3)


class FaceState(nn.Module):
    """80 x 80 face square -> pose, points, mouth, face, covered, pose_error.

    What is run looks at the picture and at its mirror image and takes the mean, so that left and
    right are read alike.
    """

    INPUT, SIZE = "square", 80
    OUTPUTS = ("pose", "points", "mouth", "face", "covered", "pose_error")
    MARKS = 150

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            conv(3, 16, 2), conv(16, 32, 2), Residual(32), Residual(32), conv(32, 56, 2),
            Residual(56), Residual(56), conv(56, 96, 2), Residual(96), Residual(96),
            nn.Conv2d(96, 32, 1), nn.ReLU(), nn.Flatten(), nn.Dropout(0.1),
            nn.Linear(800, 160), nn.ReLU())
        self.head = nn.Linear(160, 19)
        self.marks = nn.Linear(160, self.MARKS)

    def features(self, x):
        """What both heads read."""
        return self.body(torch.cat([both(x), local(x)], 1))

    def raw(self, x):
        """Pose / 20 degrees, points - 0.5, mouth, logits of face and covered, log of the pose's
        error / 20 degrees; then the marks, which only training uses."""
        inner = self.features(x)
        return torch.cat([self.head(inner), self.marks(inner) * 0.3], 1)

    def forward(self, x):
        y = self.head(self.features(torch.cat([x, torch.flip(x, [3])], 0)))
        a, b = y[:1], y[1:]
        sign = torch.tensor([[-1.0, 1.0, -1.0]])
        pose = (a[:, :3] + b[:, :3] * sign) * 10
        # mirrored: the right eye is the left one, and x runs the other way
        p = b[:, 3:13]
        p = torch.cat([-p[:, 2:3], p[:, 3:4], -p[:, 0:1], p[:, 1:2], -p[:, 4:5], p[:, 5:6],
                       -p[:, 8:9], p[:, 9:10], -p[:, 6:7], p[:, 7:8]], 1)
        points = (a[:, 3:13] + p) * 0.15 + 0.5
        rest = (a[:, 13:] + b[:, 13:]) * 0.5
        # two readings that differ are in doubt as well
        error = torch.exp(rest[:, 3:6]) * 20 + (a[:, :3] - b[:, :3] * sign).abs() * 10
        return (pose, points, torch.clamp(rest[:, :1], 0, 2), torch.sigmoid(rest[:, 1:2]),
                torch.sigmoid(rest[:, 2:3]), error)

    @staticmethod
    def loss(y, t):
        """Mean loss of raw outputs for label rows of `dataset.FaceSet`.

        The pose's error is learnt beside the pose: |difference| / error + log error is least where
        the error said is the mean of the real ones. It hardly weighs the pose itself: a head far
        to the side is hard to read, and must be learnt all the same.
        """
        f = nn.functional
        near = lambda a, b, beta: f.smooth_l1_loss(a, b, reduction="none", beta=beta).sum(1)
        log_error = y[:, 16:19].clamp(-4.0, 1.5)
        miss = f.smooth_l1_loss(y[:, :3], t[:, :3] / 20, reduction="none", beta=0.05)
        sure = torch.exp(-log_error)
        pose = miss * (2.5 + 0.3 * sure.detach()) * (1 + t[:, :1].abs() / 60 + t[:, 1:2].abs() / 40)
        pose = pose + miss.detach() * sure + log_error
        pose = (pose * torch.tensor([1.5, 1.3, 0.5])).sum(1)
        points = near(y[:, 3:13], (t[:, 3:13] - 0.5) / 0.3, 0.1)
        # most mouths are shut: without more weight on open ones, "shut" is a good guess
        mouth = near(y[:, 13:14], t[:, 13:14], 0.1) * (1 + 3 * t[:, 13])
        yes = f.binary_cross_entropy_with_logits(y[:, 14:16], t[:, 14:16], reduction="none")
        marks = near(y[:, 19:] / 0.3, t[:, 21:] / 0.3, 0.1) * (10 / FaceState.MARKS)
        return (1.5 * pose * t[:, 16] + (0.7 * points + 2.0 * marks) * t[:, 17]
                + 25 * mouth * t[:, 18] + 4 * yes[:, 0] * t[:, 19] + 8 * yes[:, 1] * t[:, 20]).mean()


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
