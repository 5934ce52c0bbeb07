"""What each of two processes does in `tests/trainer/training/test_distributed.py`; torchrun starts them.

    torchrun --nproc-per-node 2 tests/support/shared_training.py FOLDER DATA

FOLDER holds `norm.toml` (a network with BatchNorm) and `plain.toml` (one without). Each process leaves the weights that
it ended with in FOLDER/RUN/rank0.pt or rank1.pt.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch import nn

from trainer.cli import app as cli
from trainer.training import loop
from trainer.training.distributed import World, joined

networks: list[nn.Module] = []


class Witness(loop.WeightAverage):
    """Remembers the network that is trained."""

    def __init__(self, model: nn.Module, decay: float, ramp: float) -> None:
        super().__init__(model, decay, ramp)
        networks.append(model)


def train(world: World, folder: Path, data: Path, recipe: str, run: str, *options: str) -> None:
    arguments = ["train", str(folder / f"{recipe}.toml"), "--data", str(data), "--out", str(folder / run)]
    cli.app([*arguments, "--cache", str(folder / "cache"), "--threads", "1", *options], standalone_mode=False)
    torch.save(networks[-1].state_dict(), folder / run / f"rank{world.rank}.pt")


def main(folder: Path, data: Path) -> None:
    loop.WeightAverage = Witness  # type: ignore[misc]
    with joined("cpu") as world:
        torch.manual_seed(world.rank)  # as if something else had run before
        norm = nn.BatchNorm2d(2)
        for value in norm.state_dict().values():
            value.fill_(world.rank + 5)
        world.wrap(norm, "cpu")
        torch.save(norm.state_dict(), folder / f"start{world.rank}.pt")
        train(world, folder, data, "norm", "straight")
        train(world, folder, data, "norm", "broken", "--stop-after", "2")
        train(world, folder, data, "norm", "broken")
        train(world, folder, data, "plain", "plain")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
