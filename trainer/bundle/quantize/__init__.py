"""int8 for ONNX files: static QDQ by ONNX Runtime's own tools, with what stays float decided by measurement.

0. Transposed convolutions with a 2x2 kernel and stride 2 become 1x1 convolutions and moves of pixels, exactly
   (`trainer.bundle.rewrite`): there is no int8 form of the former on the CPU.
1. Activation ranges are observed on calibration pictures of the training split.
2. Bias correction (Nagel et al., arXiv 1906.04721, section 4.2): rounding a layer's weights moves the mean of its
   output by the rounding error times the mean of its input, which is measured and taken back from the bias; what still
   moves the mean of the last layer is measured and taken back there. It is kept only where it helps.
3. Where the whole network in int8 moves the probabilities too far on other training pictures, its first blocks are kept
   in float, one more in each attempt, as long as they are less than a third: they are the sensitive ones in most
   networks, and an attempt is a measurement.
4. Where that is not enough, a sensitivity scan quantises each block alone, biases corrected, and ranks the blocks by
   how far they move the probabilities. The most sensitive are kept in float, as few as bring the shift under the limit.

Nothing here looks at the validation split: the parity gates judge the result there.
"""

from trainer.bundle.quantize.blocks import find_blocks
from trainer.bundle.quantize.choice import QuantizationReport, quantize_onnx
from trainer.bundle.quantize.errors import QuantizationError
from trainer.bundle.quantize.quantizer import BlockSensitivity, Target
from trainer.bundle.quantize.shift import Decisions, Shift, measure_shift

__all__ = [
    "BlockSensitivity",
    "Decisions",
    "QuantizationError",
    "QuantizationReport",
    "Shift",
    "Target",
    "find_blocks",
    "measure_shift",
    "quantize_onnx",
]
