package io.github.edgeinfer

/**
 * An upright picture: RGB, 8 bits a channel, rows from the top.
 *
 * @property pixels channel c of column x in row y is `pixels[(y * width + x) * 3 + c]`, 0..255 as an unsigned byte.
 * @throws ImageArrayError the size is empty, or does not fit the pixels.
 */
class Picture(val height: Int, val width: Int, val pixels: ByteArray) {
    init {
        if (height < 1 || width < 1 || pixels.size.toLong() != 3L * height * width) {
            throw ImageArrayError(
                "${pixels.size} bytes are no RGB picture of $width x $height pixels.",
                "Give 3 bytes a pixel, red first, and the picture's own size.",
            )
        }
    }
}

/**
 * Which pixels are lesion: 1, and which are not: 0.
 *
 * @property values column x of row y is `values[y * width + x]`.
 */
class Mask(val height: Int, val width: Int, val values: ByteArray) {
    init {
        require(values.size == height * width) { "${values.size} values are no mask of $width x $height pixels" }
    }

    /** Pixels of the lesion. */
    val count: Int get() = values.count { it.toInt() != 0 }
}

/**
 * The segmenter's answer: lesion probability, 0..1, of each pixel of its input.
 *
 * @property values column x of row y is `values[y * width + x]`.
 */
class ProbabilityMap(val height: Int, val width: Int, val values: FloatArray) {
    init {
        require(values.size == height * width) { "${values.size} values are no map of $width x $height pixels" }
    }
}

/** A half-open rectangle in pixels: columns x0 to x1 - 1, rows y0 to y1 - 1. A region of interest may lie partly outside. */
data class Box(val x0: Int, val y0: Int, val x1: Int, val y1: Int) {
    val width: Int get() = x1 - x0
    val height: Int get() = y1 - y0
}
