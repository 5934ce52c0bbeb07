package io.github.edgeinfer.steps

import io.github.edgeinfer.Mask
import io.github.edgeinfer.ProbabilityMap

/**
 * Thresholds a probability map and keeps its largest region, with the holes closed (step 4).
 *
 * @param threshold a pixel belongs to the lesion where its probability is at least this; compared as 32-bit floats.
 * @return of the map's size; all zero where no pixel reaches the threshold.
 */
fun cleanMask(map: ProbabilityMap, threshold: Double): Mask {
    val limit = threshold.toFloat()
    return largestRegion(Mask(map.height, map.width, ByteArray(map.values.size) { if (map.values[it] >= limit) 1 else 0 }))
}

/**
 * Keeps the largest 8-connected region, filled. A region's area is that of the polygon through the centres of its outer border
 * pixels, so a line has area 0. On a tie the region stays whose first pixel in reading order comes last.
 */
fun largestRegion(mask: Mask): Mask {
    val grid = Grid(mask)
    var best = -1L
    var bestLabel = 0
    for ((label, start) in grid.regions()) {
        val area = grid.doubledArea(start)
        if (area >= best) {
            best = area
            bestLabel = label
        }
    }
    return if (bestLabel == 0) Mask(mask.height, mask.width, ByteArray(mask.values.size)) else grid.filled(bestLabel)
}

/** How sure the segmenter is of its outline: the mean probability over the cleaned lesion, 0 for an empty one. */
fun lesionConfidence(map: ProbabilityMap, mask: Mask): Double {
    var sum = 0.0
    var count = 0
    for (i in mask.values.indices) {
        if (mask.values[i].toInt() == 1) {
            sum += map.values[i]
            count++
        }
    }
    return if (count == 0) 0.0 else sum / count
}

/** Brings a mask to another size with a smooth border (step 5): resize 0/255, then keep values of at least 128. */
fun restoreMask(mask: Mask, height: Int, width: Int): Mask {
    val grey = ByteArray(mask.values.size) { if (mask.values[it].toInt() == 0) 0 else -1 }
    val resized = resizeBytes(grey, mask.height, mask.width, 1, height, width)
    return Mask(height, width, ByteArray(resized.size) { if (resized[it].toInt() and 255 >= 128) 1 else 0 })
}

/** A mask with a border of background around it, so that no neighbour lies outside the array. */
private class Grid(mask: Mask) {
    private val height = mask.height
    private val width = mask.width
    private val stride = width + 2
    private val labels = IntArray((height + 2) * stride)

    /** East, then clockwise (rows grow downwards). */
    private val around = intArrayOf(1, stride + 1, stride, stride - 1, -1, -stride - 1, -stride, -stride + 1)
    private val sides = intArrayOf(1, stride, -1, -stride)
    private val stack = IntArray(labels.size)

    init {
        for (y in 0 until height) {
            for (x in 0 until width) labels[(y + 1) * stride + x + 1] = -mask.values[y * width + x]
        }
    }

    /** Labels every 8-connected region from 1 on, in reading order; gives each label with its first pixel. */
    fun regions(): List<Pair<Int, Int>> {
        val found = ArrayList<Pair<Int, Int>>()
        for (start in labels.indices) {
            if (labels[start] != -1) continue
            val label = found.size + 1
            found += label to start
            spread(start, around, -1, label)
        }
        return found
    }

    /** Twice the area of the polygon through the centres of the outer border (Suzuki and Abe 1985; shoelace). */
    fun doubledArea(start: Int): Long {
        // The pixel to the west of the first one in reading order is background: look clockwise from there.
        val first = (5..11).map { it % 8 }.firstOrNull { labels[start + around[it]] > 0 } ?: return 0
        val stop = start + around[first]
        var sum = 0L
        var current = start
        var from = first
        while (true) {
            var direction = from
            do direction = (direction + 7) % 8 while (labels[current + around[direction]] <= 0)
            val next = current + around[direction]
            sum += cross(current, next)
            if (next == start && current == stop) return kotlin.math.abs(sum)
            current = next
            from = (direction + 4) % 8
        }
    }

    private fun cross(a: Int, b: Int): Long =
        (a % stride).toLong() * (b / stride) - (b % stride).toLong() * (a / stride)

    /** Everything that the outside cannot reach, by steps along rows and columns, without crossing the region. */
    fun filled(label: Int): Mask {
        val open = IntArray(labels.size) { if (labels[it] == label) 1 else 0 }
        open.copyInto(labels)
        // The border of background makes the outside one region. Rows above the first and below the last are outside it.
        spread(0, sides, 0, 2, wrap = false)
        val values = ByteArray(height * width) { if (labels[(it / width + 1) * stride + it % width + 1] == 2) 0 else 1 }
        return Mask(height, width, values)
    }

    private fun spread(start: Int, steps: IntArray, from: Int, to: Int, wrap: Boolean = true) {
        var size = 0
        stack[size++] = start
        labels[start] = to
        while (size > 0) {
            val pixel = stack[--size]
            for (step in steps) {
                val near = pixel + step
                if ((wrap || near in labels.indices) && labels[near] == from) {
                    labels[near] = to
                    stack[size++] = near
                }
            }
        }
    }
}
