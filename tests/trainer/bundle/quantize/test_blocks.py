"""Blocks are a network's modules, in order."""

from __future__ import annotations

from pathlib import Path

import onnx

from tests.trainer.bundle.quantize.networks import BLOCKS
from trainer.bundle.quantize import find_blocks


def test_blocks_are_modules_in_order(classifier: Path) -> None:
    model = onnx.load(classifier)
    blocks = find_blocks(model, most=5)
    assert list(blocks) == ["stem", "first", "spiky", "last", "head"]
    assert tuple(find_blocks(model)) == BLOCKS
    kinds = {node.name: node.op_type for node in model.graph.node}
    assert sorted(kinds[name] for name in blocks["first"]) == ["Clip", "Clip", "Conv", "Conv"]
    outside = {kinds[name] for name in set(kinds) - {name for names in blocks.values() for name in names}}
    assert {"Cast", "Softmax"} <= outside
