"""Trains one network on rendered shards.

    python3 train.py --net eye --shards FOLDER --out eye.pt

Identities whose number divides by ten are held out and only measured. Seeds are fixed; on another
machine or number of threads sums come out in another order, so the weights differ slightly.
"""

import argparse
import time
from pathlib import Path

import cv2
import numpy as np
import torch

import dataset
from networks import NETWORKS

SETS = dict(eye=dataset.EyeSet, face=dataset.FaceSet, phone=dataset.PhoneSet)
IDENTITY = dict(eye=10, face=17, phone=5)  # the label column that holds the identity


def batches(data, size, order, workers):
    """Batches of a dataset in a given order."""
    return torch.utils.data.DataLoader(torch.utils.data.Subset(data, order), batch_size=size,
                                       num_workers=workers, drop_last=True)


def average(slow, net, keep):
    """Moves `slow` a little towards `net`: the mean of the last weights generalises better."""
    with torch.no_grad():
        for a, b in zip(slow.state_dict().values(), net.state_dict().values()):
            if a.dtype.is_floating_point:
                a.mul_(keep).add_(b, alpha=1 - keep)
            else:
                a.copy_(b)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--net", choices=NETWORKS, required=True)
    parser.add_argument("--shards", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--start", type=Path, help="weights to go on from")
    parser.add_argument("--epochs", type=int, default=14)
    parser.add_argument("--batch", type=int, default=96)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rate", type=float, default=3e-3, help="the highest learning rate")
    parser.add_argument("--good", type=float, help="how often a face's light and camera are good")
    parser.add_argument("--half", action="store_true",
                        help="compute in bfloat16: a third faster where the processor has it")
    a = parser.parse_args()
    torch.manual_seed(a.seed)
    torch.set_num_threads(a.threads)
    cv2.setNumThreads(0)
    cuts, rows = dataset.load(sorted(a.shards.glob(f"{a.net}-*.npz")))
    held = rows[:, IDENTITY[a.net]].astype(int) % 10 == 0
    train = SETS[a.net](cuts[~held], rows[~held], a.seed)
    check = SETS[a.net](cuts[held], rows[held], 99, plain=True)
    if a.good is not None:
        train.good = a.good
    print(f"{len(train)} to learn from, {len(check)} held out", flush=True)
    new = lambda: NETWORKS[a.net]().to(memory_format=torch.channels_last)
    net, slow = new(), new()
    if a.start:
        net.load_state_dict(torch.load(a.start, weights_only=True))
    slow.load_state_dict(net.state_dict())
    print(sum(p.numel() for p in net.parameters()), "parameters", flush=True)
    best = torch.optim.AdamW(net.parameters(), 2e-3, weight_decay=1e-2)
    steps = a.epochs * (len(train) // a.batch)
    plan = torch.optim.lr_scheduler.OneCycleLR(best, a.rate, total_steps=steps, pct_start=0.15)
    rng = np.random.default_rng(a.seed)
    for epoch in range(a.epochs):
        began, total, count = time.time(), 0.0, 0
        train.epoch = epoch
        net.train()
        for x, t in batches(train, a.batch, rng.permutation(len(train)), 1):
            with torch.autocast("cpu", torch.bfloat16, enabled=a.half):
                y = net.raw(x)
            loss = net.loss(y.float(), t)
            best.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(net.parameters(), 5.0)
            best.step()
            plan.step()
            average(slow, net, min(0.998, 1 - 1 / (2 + plan.last_epoch / 5)))
            total, count = total + float(loss.detach()), count + 1
        slow.eval()
        with torch.no_grad():
            held_loss = np.mean([float(slow.loss(slow.raw(x), t)) for x, t in
                                 batches(check, 64, np.arange(len(check)), 0)])
        print(f"epoch {epoch + 1}: loss {total / count:.4f}, held out {held_loss:.4f}, "
              f"{time.time() - began:.0f} s", flush=True)
        torch.save(slow.state_dict(), a.out)


if __name__ == "__main__":
    main()
