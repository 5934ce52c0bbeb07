package io.github.edgeinfer.steps

import io.github.edgeinfer.MaskRule
import io.github.edgeinfer.Picture
import io.github.edgeinfer.QualityLimits
import io.github.edgeinfer.Reason
import kotlin.math.sqrt

/**
 * Measures of a picture at the segmenter's input size (step 3).
 *
 * @property luminance mean grey value, 0 (black) to 255 (white).
 * @property contrast standard deviation of the grey values.
 * @property sharpness variance of the Laplacian over the variance of the grey values; 0 for a uniform picture.
 */
data class Quality(val luminance: Double, val contrast: Double, val sharpness: Double)

/** Grey values 0..255: round(0.299 R + 0.587 G + 0.114 B). */
internal fun grey(picture: Picture): IntArray {
    val pixels = picture.pixels
    return IntArray(picture.height * picture.width) {
        val red = pixels[3 * it].toInt() and 255
        val green = pixels[3 * it + 1].toInt() and 255
        val blue = pixels[3 * it + 2].toInt() and 255
        (299 * red + 587 * green + 114 * blue + 500) / 1000
    }
}

/** Measures a resized picture. */
fun measureQuality(picture: Picture): Quality {
    val grey = grey(picture)
    val (mean, variance) = meanAndVariance(grey)
    if (variance == 0.0) return Quality(mean, 0.0, 0.0)
    return Quality(mean, sqrt(variance), meanAndVariance(laplacian(grey, picture.height, picture.width)).second / variance)
}

/** The four neighbours less four times the pixel; outside, the neighbour is mirrored without repeating the edge. */
private fun laplacian(grey: IntArray, height: Int, width: Int): IntArray {
    fun mirrored(i: Int, size: Int): Int = when {
        size == 1 -> 0
        i < 0 -> -i
        i >= size -> 2 * size - 2 - i
        else -> i
    }
    return IntArray(grey.size) {
        val y = it / width
        val x = it % width
        val around = grey[mirrored(y - 1, height) * width + x] + grey[mirrored(y + 1, height) * width + x] +
            grey[y * width + mirrored(x - 1, width)] + grey[y * width + mirrored(x + 1, width)]
        around - 4 * grey[it]
    }
}

/** Mean, and variance divided by n. Sums of whole numbers are exact; so a uniform picture has variance 0. */
internal fun meanAndVariance(values: IntArray): Pair<Double, Double> {
    var sum = 0L
    var squares = 0L
    for (value in values) {
        sum += value
        squares += value.toLong() * value
    }
    val n = values.size.toDouble()
    val mean = sum / n
    val spread = squares * values.size.toLong() - sum * sum
    return mean to spread / (n * n)
}

/** The first limit that a picture of this original size breaks, or null. */
fun pictureProblem(height: Int, width: Int, quality: Quality, limits: QualityLimits): Reason? =
    if (minOf(height, width) < limits.minSide) Reason.PICTURE_TOO_SMALL else qualityProblem(quality, limits)

/** The first limit that the measures break, or null. */
fun qualityProblem(quality: Quality, limits: QualityLimits): Reason? = when {
    quality.contrast == 0.0 -> Reason.BLANK
    quality.luminance > limits.maxLuminance -> Reason.OVEREXPOSED
    quality.luminance < limits.minLuminance -> Reason.TOO_DARK
    quality.contrast < limits.minContrast -> Reason.UNIFORM
    quality.sharpness < limits.minSharpness -> Reason.BLURRED
    else -> null
}

/**
 * Why a lesion is refused, or null.
 *
 * @param areaFraction lesion pixels over all pixels; 0 where none was found.
 * @param confidence see [lesionConfidence].
 */
fun lesionProblem(areaFraction: Double, confidence: Double, rule: MaskRule): Reason? = when {
    areaFraction == 0.0 -> Reason.NO_LESION
    confidence < rule.minConfidence -> Reason.LESION_UNCERTAIN
    areaFraction < rule.minAreaFraction -> Reason.LESION_TOO_SMALL
    areaFraction > rule.maxAreaFraction -> Reason.LESION_FILLS_FRAME
    else -> null
}
