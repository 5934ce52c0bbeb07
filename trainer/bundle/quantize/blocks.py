"""A network's layers with weights and its blocks: the modules that a graph's nodes come from."""

from __future__ import annotations

import onnx

WEIGHTED = {"Conv", "ConvTranspose", "Gemm", "MatMul"}


def find_blocks(model: onnx.ModelProto, most: int = 48) -> dict[str, list[str]]:
    """Groups a network's nodes by the module that they come from, in the graph's order.

    The name of a layer's weight, as torch's exporter keeps it, is its module path. Paths are cut at the deepest level
    that gives at most `most` blocks. A node without weights belongs to the block of its latest input; what comes before
    every layer with weights, and what no such layer needs (the way from the logits to the output), belongs to none.

    Args:
        model: with plain initializers; see `trainer.bundle.storage.load_wide`.
        most: how many blocks at most.

    Returns:
        Node names by block.
    """
    paths = layer_paths(model)
    depths = range(1, max(map(len, paths.values()), default=0) + 1)
    sufficient = [depth for depth in depths if len({path[:depth] for path in paths.values()}) <= most]
    depth = max(sufficient, default=1)
    blocks: dict[str, list[str]] = {}
    made_by: dict[str, tuple[int, str]] = {}
    needed: set[str] = set()
    for node in reversed(model.graph.node):
        if node.name in paths or needed.intersection(node.output):
            needed.update(node.input)
    for position, node in enumerate(model.graph.node):
        if node.name in paths:
            block = ".".join(paths[node.name][:depth])
        else:
            inputs = [made_by[name] for name in node.input if name in made_by]
            if not inputs or not needed.intersection(node.output):
                continue
            block = max(inputs)[1]
        blocks.setdefault(block, []).append(node.name)
        made_by.update((name, (position, block)) for name in node.output)
    return blocks


def layer_paths(model: onnx.ModelProto) -> dict[str, tuple[str, ...]]:
    """Module path of every node with stored weights, without the part that all share."""
    stored = {tensor.name for tensor in model.graph.initializer}
    paths = {}
    for node in model.graph.node:
        if node.op_type in WEIGHTED and len(node.input) > 1 and node.input[1] in stored:
            paths[node.name] = tuple(node.input[1].removesuffix(".weight").split("."))
    while len({path[0] for path in paths.values()}) == 1 and all(len(path) > 1 for path in paths.values()):
        paths = {name: path[1:] for name, path in paths.items()}
    return paths
