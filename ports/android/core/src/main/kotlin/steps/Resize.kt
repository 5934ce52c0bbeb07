package io.github.edgeinfer.steps

import io.github.edgeinfer.Picture
import kotlin.math.ceil
import kotlin.math.floor
import kotlin.math.min
import kotlin.math.round

/**
 * Resizes a picture by the one rule that training and serving share (step 2): area average where no axis grows, bilinear
 * otherwise, unchanged where the size already fits. The aspect ratio is not kept.
 *
 * The written rule leaves open how halves are rounded. This is OpenCV's arithmetic, operation by operation, so that the bytes are
 * those of the Python runtime: a grey level more or less moves an outline, and an outline moves the crop.
 */
fun resize(picture: Picture, height: Int, width: Int): Picture {
    if (picture.height == height && picture.width == width) return picture
    return Picture(height, width, resizeBytes(picture.pixels, picture.height, picture.width, 3, height, width))
}

/** See [resize]; `channels` bytes a pixel, interleaved. */
internal fun resizeBytes(source: ByteArray, rows: Int, columns: Int, channels: Int, height: Int, width: Int): ByteArray {
    val raster = Raster(source, columns, channels)
    return when {
        rows == height && columns == width -> source
        height > rows || width > columns -> bilinear(raster, rows, height, width)
        rows % height == 0 && columns % width == 0 -> wholeArea(raster, rows / height, columns / width, height, width)
        else -> area(raster, rows, height, width)
    }
}

private class Raster(val bytes: ByteArray, val columns: Int, val channels: Int) {
    /** Of an index into the interleaved samples. */
    operator fun get(i: Int): Int = bytes[i].toInt() and 255
}

/** Both factors are whole numbers: a sum of whole numbers. Exact halving rounds halves up, all else to even. */
private fun wholeArea(source: Raster, tall: Int, wide: Int, height: Int, width: Int): ByteArray {
    val channels = source.channels
    val share = 1f / (tall * wide)
    return ByteArray(height * width * channels) { i ->
        val y = i / channels / width * tall
        val x = i / channels % width * wide
        var sum = 0
        for (row in y until y + tall) {
            for (column in x until x + wide) sum += source[(row * source.columns + column) * channels + i % channels]
        }
        (if (tall == 2 && wide == 2) (sum + 2) shr 2 else rounded(sum * share)).toByte()
    }
}

private fun area(source: Raster, rows: Int, height: Int, width: Int): ByteArray {
    val channels = source.channels
    val down = areaTaps(rows, height)
    val across = areaTaps(source.columns, width)
    val sums = FloatArray(width * channels)
    val line = FloatArray(width * channels)
    var lineOf = -1
    val result = ByteArray(height * width * channels)
    for (y in 0 until height) {
        sums.fill(0f)
        for (k in down.starts[y] until down.starts[y + 1]) {
            val row = down.indices[k]
            if (row != lineOf) {
                weigh(source, row, across, line)
                lineOf = row
            }
            val weight = down.weights[k]
            for (i in sums.indices) sums[i] += weight * line[i]
        }
        for (i in sums.indices) result[y * sums.size + i] = rounded(sums[i]).toByte()
    }
    return result
}

private fun weigh(source: Raster, row: Int, across: AreaTaps, line: FloatArray) {
    val channels = source.channels
    for (i in line.indices) {
        var sum = 0f
        for (k in across.starts[i / channels] until across.starts[i / channels + 1]) {
            sum += source[(row * source.columns + across.indices[k]) * channels + i % channels] * across.weights[k]
        }
        line[i] = sum
    }
}

/** To the nearest whole number, halves to the even one. */
private fun rounded(value: Float): Int = round(value).toInt()

/** Along one axis: output i is the sum of the source pixels `indices[k]` times `weights[k]`, k from `starts[i]`. */
internal class AreaTaps(val starts: IntArray, val indices: IntArray, val weights: FloatArray)

/** Output i covers the source from i * n / size to (i + 1) * n / size; less than a thousandth of a pixel does not count. */
internal fun areaTaps(n: Int, size: Int): AreaTaps {
    val scale = 1.0 / (size.toDouble() / n)
    val starts = IntArray(size + 1)
    val indices = ArrayList<Int>(n + size)
    val weights = ArrayList<Float>(n + size)
    for (i in 0 until size) {
        val low = i * scale
        val high = low + scale
        val cell = min(scale, n - low)
        val last = min(floor(high).toInt(), n - 1)
        val first = min(ceil(low).toInt(), last)
        if (first - low > 1e-3) {
            indices += first - 1
            weights += ((first - low) / cell).toFloat()
        }
        for (pixel in first until last) {
            indices += pixel
            weights += (1.0 / cell).toFloat()
        }
        if (high - last > 1e-3) {
            indices += last
            weights += (min(min(high - last, 1.0), cell) / cell).toFloat()
        }
        starts[i + 1] = indices.size
    }
    return AreaTaps(starts, indices.toIntArray(), weights.toFloatArray())
}

private const val ONE = 2048

/** Output i reads the source at (i + 0.5) * n / size - 0.5, between two pixels, with weights in 2048ths. */
private class LinearTaps(n: Int, size: Int, clamped: Boolean) {
    val low = IntArray(size)
    val high = IntArray(size)
    val lowWeight = IntArray(size)
    val highWeight = IntArray(size)

    init {
        val scale = 1.0 / (size.toDouble() / n)
        for (i in 0 until size) {
            val position = ((i + 0.5) * scale - 0.5).toFloat()
            var pixel = floor(position).toInt()
            var share = position - pixel
            if (clamped && (pixel < 0 || pixel >= n - 1)) {
                pixel = pixel.coerceIn(0, n - 1)
                share = 0f
            }
            low[i] = pixel.coerceIn(0, n - 1)
            high[i] = (pixel + 1).coerceIn(0, n - 1)
            lowWeight[i] = rounded((1f - share) * ONE)
            highWeight[i] = rounded(share * ONE)
        }
    }
}

private fun bilinear(source: Raster, rows: Int, height: Int, width: Int): ByteArray {
    val channels = source.channels
    // OpenCV clamps columns before it weighs and rows after; the bytes at the upper and lower edge show it.
    val down = LinearTaps(rows, height, clamped = false)
    val across = LinearTaps(source.columns, width, clamped = true)
    val lines = HashMap<Int, IntArray>()
    val result = ByteArray(height * width * channels)
    for (y in 0 until height) {
        lines.keys.removeAll { it < down.low[y] }
        val upper = lines.getOrPut(down.low[y]) { blend(source, down.low[y], across, width) }
        val lower = lines.getOrPut(down.high[y]) { blend(source, down.high[y], across, width) }
        for (i in upper.indices) {
            val a = (down.lowWeight[y] * (upper[i] shr 4)) shr 16
            val b = (down.highWeight[y] * (lower[i] shr 4)) shr 16
            result[y * upper.size + i] = ((a + b + 2) shr 2).toByte()
        }
    }
    return result
}

private fun blend(source: Raster, row: Int, across: LinearTaps, width: Int): IntArray {
    val channels = source.channels
    val start = row * source.columns
    return IntArray(width * channels) {
        val x = it / channels
        val c = it % channels
        source[(start + across.low[x]) * channels + c] * across.lowWeight[x] +
            source[(start + across.high[x]) * channels + c] * across.highWeight[x]
    }
}
