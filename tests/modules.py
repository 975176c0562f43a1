"""Small plain PyTorch modules for tests, chosen by a seed."""

import random

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Chain(nn.Module):
    """Convolutions with batch norm and pools, then fully connected layers."""

    def __init__(self, rng: random.Random) -> None:
        super().__init__()
        a, b, h = (rng.randint(1, 9) for _ in range(3))
        self.conv1 = nn.Conv2d(3, a, 3, padding=1, bias=rng.random() < 0.5)
        self.norm1 = nn.BatchNorm2d(a, affine=rng.random() < 0.8)
        kernel = rng.choice([1, 3])
        self.conv2 = nn.Conv2d(a, b, kernel, stride=rng.choice([1, 2]), padding=kernel // 2)
        self.pool = rng.choice([nn.MaxPool2d(2), nn.AvgPool2d(2), nn.MaxPool2d(3, 2, 1)])
        self.mean = nn.AdaptiveAvgPool2d(1)
        self.fc1, self.norm2, self.fc2 = nn.Linear(b, h), nn.BatchNorm1d(h), nn.Linear(h, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu6(self.norm1(self.conv1(x)))
        x = self.mean(self.pool(torch.relu(self.conv2(x)))).flatten(1)
        result: Tensor = self.fc2(F.relu(self.norm2(self.fc1(x))))
        return result


class Residual(nn.Module):
    """Additions with and without a convolution in the shortcut; batch norm after an addition."""

    def __init__(self, rng: random.Random) -> None:
        super().__init__()
        a, b = (rng.randint(1, 9) for _ in range(2))
        self.stem, self.norm0 = nn.Conv2d(3, a, 3, padding=1), nn.BatchNorm2d(a)
        self.conv1, self.norm1 = nn.Conv2d(a, a, 3, padding=1, bias=False), nn.BatchNorm2d(a)
        self.conv2, self.norm2 = nn.Conv2d(a, b, 3, 2, 1), nn.BatchNorm2d(b)
        self.shortcut = nn.Conv2d(a, b, 1, 2)
        self.after, self.drop, self.fc = nn.BatchNorm2d(b), nn.Dropout(0.3), nn.Linear(4 * b, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.norm0(self.stem(x)))
        x = F.relu(x + self.norm1(self.conv1(x)))
        x = torch.add(self.norm2(self.conv2(x)), self.shortcut(x))
        x = F.avg_pool2d(F.relu(self.after(x)), 2)
        result: Tensor = self.fc(self.drop(x.reshape(x.size(0), -1)))
        return result


class Depthwise(nn.Module):
    """Separable convolutions, one with two filters per channel, one without batch norm."""

    def __init__(self, rng: random.Random) -> None:
        super().__init__()
        a, b = (rng.randint(1, 9) for _ in range(2))
        self.stem = nn.Conv2d(3, a, 1)
        self.dw1 = nn.Conv2d(a, 2 * a, 3, padding=1, groups=a, bias=rng.random() < 0.5)
        self.norm, self.pw1 = nn.BatchNorm2d(2 * a), nn.Conv2d(2 * a, b, 1)
        self.dw2, self.pw2 = nn.Conv2d(b, b, 3, 2, 1, groups=b), nn.Conv2d(b, 5, 1)
        self.fc = nn.Linear(5, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.norm(self.dw1(self.stem(x))))
        x = self.pw2(self.dw2(F.relu6(self.pw1(x))))
        result: Tensor = self.fc(x.mean((2, 3)))
        return result


class Concat(nn.Module):
    """Concatenations of tensors that scale apart, read by a convolution and a depthwise one."""

    def __init__(self, rng: random.Random) -> None:
        super().__init__()
        a, b, c = (rng.randint(1, 7) for _ in range(3))
        self.conv1, self.conv2 = nn.Conv2d(3, a, 3, padding=1), nn.Conv2d(3, b, 1)
        self.norm, self.conv3 = nn.BatchNorm2d(a + b), nn.Conv2d(a + b, c, 3, padding=1)
        self.dw = nn.Conv2d(a + b, a + b, 3, padding=1, groups=a + b)
        self.fc1, self.fc2 = nn.Linear(4 * (a + b + c), 6), nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.cat([self.conv1(x), self.conv2(x)], dim=1)
        x = F.relu(self.norm(x))
        x = torch.cat((self.dw(x), self.conv3(x)), 1)
        x = F.max_pool2d(x, 4).flatten(1)
        result: Tensor = self.fc2(F.relu(self.fc1(x)))
        return result


KINDS: dict[str, type[nn.Module]] = {
    "chain": Chain,
    "residual": Residual,
    "depthwise": Depthwise,
    "concat": Concat,
}


def plain_module(kind: str, seed: int) -> nn.Module:
    """A module of this kind for `[B, 3, 8, 8]`, with batch norm that has seen data, evaluating."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        module = KINDS[kind](random.Random(seed))
        for part in module.modules():
            if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d):
                assert part.running_mean is not None and part.running_var is not None
                part.running_mean.normal_()
                part.running_var.uniform_(0.5, 2.0)
                part.num_batches_tracked.fill_(3)  # type: ignore[operator]
                if part.affine:
                    nn.init.uniform_(part.weight, 0.5, 1.5)
                    nn.init.normal_(part.bias)
    return module.eval()


def images(count: int = 3, seed: int = 0) -> Tensor:
    """Inputs `[count, 3, 8, 8]`."""
    return torch.randn(count, 3, 8, 8, generator=torch.Generator().manual_seed(seed))
