package io.github.edgeinfer.steps

import io.github.edgeinfer.Picture

/**
 * Resizes a picture by the one rule that training and serving share (step 2): area average where no axis grows, bilinear
 * otherwise, unchanged where the size already fits. The aspect ratio is not kept.
 *
 * All arithmetic is in whole numbers, so every platform gives the same bytes.
 */
fun resize(picture: Picture, height: Int, width: Int): Picture {
    if (picture.height == height && picture.width == width) return picture
    return Picture(height, width, resizeBytes(picture.pixels, picture.height, picture.width, 3, height, width))
}

/** See [resize]; `channels` bytes a pixel, interleaved. */
internal fun resizeBytes(source: ByteArray, rows: Int, columns: Int, channels: Int, height: Int, width: Int): ByteArray {
    if (rows == height && columns == width) return source
    val shrinks = height <= rows && width <= columns
    val down = if (shrinks) areaTaps(rows, height) else bilinearTaps(rows, height)
    val across = if (shrinks) areaTaps(columns, width) else bilinearTaps(columns, width)
    val whole = down.whole * across.whole
    val result = ByteArray(height * width * channels)
    val sums = LongArray(width * channels)
    val line = IntArray(width * channels)
    var lineOf = -1
    for (y in 0 until height) {
        sums.fill(0)
        for (k in down.starts[y] until down.starts[y + 1]) {
            val row = down.indices[k]
            if (row != lineOf) {
                weighRow(source, row * columns * channels, channels, across, line)
                lineOf = row
            }
            val weight = down.weights[k].toLong()
            for (i in sums.indices) sums[i] += weight * line[i]
        }
        val target = y * width * channels
        for (i in sums.indices) result[target + i] = ((2 * sums[i] + whole) / (2 * whole)).toByte()
    }
    return result
}

private fun weighRow(source: ByteArray, offset: Int, channels: Int, across: Taps, line: IntArray) {
    for (x in 0 until line.size / channels) {
        for (c in 0 until channels) {
            var sum = 0
            for (k in across.starts[x] until across.starts[x + 1]) {
                sum += across.weights[k] * (source[offset + across.indices[k] * channels + c].toInt() and 255)
            }
            line[x * channels + c] = sum
        }
    }
}

/**
 * Which source pixels make each output pixel along one axis, as fractions with one denominator.
 *
 * @property starts output i reads the entries `starts[i]` to `starts[i + 1] - 1` of the other two.
 * @property whole the sum of the weights of each output pixel.
 */
internal class Taps(val starts: IntArray, val indices: IntArray, val weights: IntArray, val whole: Long)

/** Output i covers the source from i * n / size to (i + 1) * n / size. */
internal fun areaTaps(n: Int, size: Int): Taps {
    val starts = IntArray(size + 1)
    val indices = ArrayList<Int>(n + size)
    val weights = ArrayList<Int>(n + size)
    for (i in 0 until size) {
        val low = i.toLong() * n
        val high = low + n
        for (pixel in low / size..(high - 1) / size) {
            indices += pixel.toInt()
            weights += (minOf(high, (pixel + 1) * size) - maxOf(low, pixel * size)).toInt()
        }
        starts[i + 1] = indices.size
    }
    return Taps(starts, indices.toIntArray(), weights.toIntArray(), n.toLong())
}

/** Output i reads the source at (i + 0.5) * n / size - 0.5, between two pixels, each clamped to the picture. */
internal fun bilinearTaps(n: Int, size: Int): Taps {
    val whole = 2L * size
    val indices = IntArray(2 * size)
    val weights = IntArray(2 * size)
    for (i in 0 until size) {
        val position = (2L * i + 1) * n - size
        val low = Math.floorDiv(position, whole)
        val share = position - low * whole
        indices[2 * i] = low.coerceIn(0, n - 1L).toInt()
        indices[2 * i + 1] = (low + 1).coerceIn(0, n - 1L).toInt()
        weights[2 * i] = (whole - share).toInt()
        weights[2 * i + 1] = share.toInt()
    }
    return Taps(IntArray(size + 1) { 2 * it }, indices, weights, whole)
}
