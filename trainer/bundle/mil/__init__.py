"""A reference interpreter for Core ML packages: a saved `.mlpackage` can be checked where Core ML does not run.

It reads the package back from disk, program and weights, and evaluates every operation with PyTorch on the CPU. The
parity gate of the export uses it on real pictures on any platform, which is why it lives here and not among the tests;
on macOS, Core ML's own `predict` can be compared with it. Arithmetic inside an operation is float32; with `fp16=True`
the result of every operation that the program declares float16 is rounded to float16, which is how Core ML stores
activations. Accelerators may sum in another order or precision: the figures are those of the format, not of one chip.
"""

from trainer.bundle.mil.errors import MilError, UnknownOperationError
from trainer.bundle.mil.program import MilProgram
from trainer.bundle.mil.rounding import FirstLayers

__all__ = ["FirstLayers", "MilError", "MilProgram", "UnknownOperationError"]
