"""One training shared by several processes, as torchrun starts them: on the GPUs or cores of one machine or of many.

A recipe's batch is divided among the processes, so that it decides the same run however many there are: the same order
of pictures, steps and learning rates.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from timm.layers import convert_sync_batchnorm
from torch import distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

T = TypeVar("T")

PATIENCE = timedelta(hours=6)
"""How long processes wait for each other: one may decode the whole data set. Of a failure torchrun tells at once."""


@dataclass(frozen=True)
class World:
    """The processes that train one network together.

    Attributes:
        rank: this process, from 0.
        size: how many there are.
        local_rank: this process on its own machine, from 0; its GPU.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0

    @property
    def leads(self) -> bool:
        """Whether this process writes files and messages."""
        return self.rank == 0

    def share(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], float]:
        """This process's part of a batch, and the weight of its mean loss.

        The mean of the weighted losses over the processes is the mean over the batch's pictures, even where they do not
        divide evenly. A process for which none are left takes the first one, with weight 0.
        """
        mine = rows[self.rank :: self.size]
        return (mine, len(mine) * self.size / len(rows)) if len(mine) else (rows[:1], 0.0)

    def wrap(self, model: nn.Module, device: str) -> nn.Module:
        """The network whose backward pass averages gradients over the processes; all start from rank 0's weights.

        On GPUs BatchNorm takes its statistics from the whole batch (SyncBatchNorm; `model` is changed in place, its
        tensors stay). PyTorch has none for the CPU: there each process uses its own part, see `average_buffers`.
        """
        if self.size == 1:
            return model
        # A static graph may hold weights that no output depends on, as timm's encoders do.
        if device != "cpu":
            model = convert_sync_batchnorm(model)
        ids = None if device == "cpu" else [self.local_rank]
        return DistributedDataParallel(model, device_ids=ids, forward_sync_buffers=False, static_graph=True)

    @torch.no_grad()
    def average_buffers(self, model: nn.Module, device: str) -> None:
        """On the CPU, replaces BatchNorm's running statistics by their mean over the processes."""
        buffers = [value for value in model.buffers() if value.is_floating_point()]
        if self.size == 1 or device != "cpu" or not buffers:
            return
        joined = torch.cat([value.flatten() for value in buffers])
        dist.all_reduce(joined)
        means = torch.split(joined / self.size, [value.numel() for value in buffers])
        for value, mean in zip(buffers, means, strict=True):
            value.copy_(mean.view_as(value))

    def mean(self, values: Sequence[float]) -> list[float]:
        """Means over the processes, element by element."""
        return list(values) if self.size == 1 else [float(value) for value in np.mean(self.gather(values), 0)]

    def gather(self, value: T) -> list[T]:
        """Every process's value, in the order of their ranks."""
        if self.size == 1:
            return [value]
        found: list[Any] = [None] * self.size
        dist.all_gather_object(found, value)
        return found

    def from_lead(self, value: T) -> T:
        """Rank 0's value."""
        if self.size == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, src=0)
        return box[0]

    @contextmanager
    def one_a_machine_first(self) -> Iterator[None]:
        """The first process of each machine does this while the others of that machine wait, and then do it too."""
        if self.size > 1 and self.local_rank > 0:
            dist.barrier()
        yield
        if self.size > 1 and self.local_rank == 0:
            dist.barrier()


ALONE = World()


@contextmanager
def joined(device: str) -> Iterator[World]:
    """Meets the other processes that torchrun has started, over NCCL for `cuda` and Gloo for `cpu`; alone without it.

    They meet once: inside another `joined` this changes nothing.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    world = ALONE if size == 1 else World(int(os.environ["RANK"]), size, int(os.environ["LOCAL_RANK"]))
    if size == 1 or dist.is_initialized():
        yield world
        return
    if device != "cpu":
        torch.cuda.set_device(world.local_rank)
    dist.init_process_group("gloo" if device == "cpu" else "nccl", timeout=PATIENCE)
    try:
        yield world
    finally:
        dist.destroy_process_group()
