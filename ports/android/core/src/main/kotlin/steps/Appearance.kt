package io.github.edgeinfer.steps

import io.github.edgeinfer.DermoscopyRule
import io.github.edgeinfer.Picture
import kotlin.math.abs
import kotlin.math.ln
import kotlin.math.max
import kotlin.math.sqrt

private const val OCTAVES = 5
private val LOG = DoubleArray(256) { ln(it + 8.0) }

/** What a bundle's `dermoscopy.terms` may name. */
val APPEARANCE_MEASURES: Set<String> = setOf(
    "red_green", "red_green_spread", "green_blue", "green_blue_spread", "shading", "brightness", "contrast",
    "octave_1", "octave_2", "octave_3", "octave_4", "octave_5", "flat", "peaked",
)

/**
 * Colour and texture of a picture at the segmenter's input size (step 3), by name; see [APPEARANCE_MEASURES].
 *
 * Only bundles of schema versions 1 and 2 use them.
 */
fun measureAppearance(picture: Picture): Map<String, Double> {
    val found = LinkedHashMap<String, Double>()
    colours(picture, found)
    val grey = grey(picture)
    val (brightness, variance) = meanAndVariance(grey)
    found["brightness"] = brightness
    found["contrast"] = sqrt(variance)
    octaves(grey, picture.height, picture.width, variance, found)
    neighbours(grey, picture.height, picture.width, found)
    return found
}

/** The log odds of the bundle's regression: higher is more like dermoscopy. */
fun dermoscopyScore(measures: Map<String, Double>, rule: DermoscopyRule): Double {
    var score = rule.intercept
    for ((name, term) in rule.terms) {
        val z = ((measures.getValue(name) - term.centre) / term.scale).coerceIn(-rule.clip, rule.clip)
        score += term.weight * z + term.curve * z * z
    }
    return score
}

private fun colours(picture: Picture, found: MutableMap<String, Double>) {
    val n = picture.height * picture.width
    val redGreen = DoubleArray(n)
    val greenBlue = DoubleArray(n)
    val green = DoubleArray(n)
    for (i in 0 until n) {
        val red = LOG[picture.pixels[3 * i].toInt() and 255]
        green[i] = LOG[picture.pixels[3 * i + 1].toInt() and 255]
        redGreen[i] = red - green[i]
        greenBlue[i] = green[i] - LOG[picture.pixels[3 * i + 2].toInt() and 255]
    }
    found["red_green"] = redGreen.average()
    found["red_green_spread"] = sqrt(covariance(redGreen, redGreen))
    found["green_blue"] = greenBlue.average()
    found["green_blue_spread"] = sqrt(covariance(greenBlue, greenBlue))
    found["shading"] = covariance(redGreen, green) / (covariance(green, green) + 1e-4)
}

private fun covariance(a: DoubleArray, b: DoubleArray): Double {
    val meanA = a.average()
    val meanB = b.average()
    var sum = 0.0
    for (i in a.indices) sum += (a[i] - meanA) * (b[i] - meanB)
    return sum / a.size
}

private fun octaves(grey: IntArray, rows: Int, columns: Int, variance: Double, found: MutableMap<String, Double>) {
    var current = DoubleArray(grey.size) { grey[it].toDouble() }
    var height = rows
    var width = columns
    var left = variance
    for (octave in 1..OCTAVES) {
        if (height < 2 || width < 2) break
        current = halve(current, height, width)
        height /= 2
        width /= 2
        val smaller = covariance(current, current)
        found["octave_$octave"] = ln((max(left - smaller, 0.0) + 0.05) / (variance + 1.0))
        left = smaller
    }
}

private fun halve(values: DoubleArray, rows: Int, columns: Int): DoubleArray {
    val down = areaTaps(rows, rows / 2)
    val across = areaTaps(columns, columns / 2)
    val width = columns / 2
    val result = DoubleArray(rows / 2 * width)
    for (y in 0 until rows / 2) {
        for (x in 0 until width) {
            var sum = 0.0
            for (i in down.starts[y] until down.starts[y + 1]) {
                for (j in across.starts[x] until across.starts[x + 1]) {
                    sum += down.weights[i].toDouble() * across.weights[j] * values[down.indices[i] * columns + across.indices[j]]
                }
            }
            result[y * width + x] = sum
        }
    }
    return result
}

private fun neighbours(grey: IntArray, height: Int, width: Int, found: MutableMap<String, Double>) {
    var equal = 0L
    var count = 0L
    var sum = 0L
    var squares = 0L
    fun compare(a: Int, b: Int) {
        val step = abs(grey[a] - grey[b])
        if (step == 0) equal++
        count++
        sum += step
        squares += step.toLong() * step
    }
    for (y in 0 until height) {
        for (x in 0 until width) {
            val i = y * width + x
            if (x + 1 < width) compare(i, i + 1)
            if (y + 1 < height) compare(i, i + width)
        }
    }
    val mean = sum / count.toDouble()
    found["flat"] = equal / count.toDouble()
    found["peaked"] = ln(squares / count.toDouble() + 1e-3) - ln(mean * mean + 1e-3)
}
