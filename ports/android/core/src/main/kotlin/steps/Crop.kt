package io.github.edgeinfer.steps

import io.github.edgeinfer.Background
import io.github.edgeinfer.Box
import io.github.edgeinfer.Mask
import io.github.edgeinfer.Outside
import io.github.edgeinfer.Picture
import io.github.edgeinfer.RoiRule
import kotlin.math.ceil
import kotlin.math.floor

/** The smallest rectangle around the lesion, or null for an empty mask (step 6). */
fun lesionBox(mask: Mask): Box? {
    var x0 = mask.width
    var x1 = 0
    var y0 = mask.height
    var y1 = 0
    for (y in 0 until mask.height) {
        for (x in 0 until mask.width) {
            if (mask.values[y * mask.width + x].toInt() == 0) continue
            x0 = minOf(x0, x)
            x1 = maxOf(x1, x + 1)
            y0 = minOf(y0, y)
            y1 = y + 1
        }
    }
    return if (x1 == 0) null else Box(x0, y0, x1, y1)
}

/**
 * The region that the classifier sees, in pixels of a picture of the given size (step 6): a square around the lesion, shifted back
 * inside where it crosses an edge. One that is larger than the picture stays partly outside (`PAD`, `REFLECT`), is cut at the
 * edges (`CLIP`), or gets the picture's shorter side (`CAP`).
 *
 * @param margin added on each side, as a fraction of the lesion's longer side.
 */
fun roiBox(lesion: Box, height: Int, width: Int, margin: Double, outside: Outside = Outside.PAD): Box {
    val longer = maxOf(lesion.width, lesion.height) * (1 + 2 * margin)
    var side = ceil(roundTo6Decimals(longer)).toInt()
    if (outside == Outside.CAP) side = minOf(side, height, width)
    fun place(low: Int, high: Int, limit: Int): Int {
        val slack = limit - side
        return minOf(maxOf(Math.floorDiv(low + high - side, 2), minOf(0, slack)), maxOf(0, slack))
    }
    val x0 = place(lesion.x0, lesion.x1, width)
    val y0 = place(lesion.y0, lesion.y1, height)
    val box = Box(x0, y0, x0 + side, y0 + side)
    return if (outside == Outside.CLIP) inside(box, height, width) else box
}

/** Keeps 130.00000000000003 from becoming 131. */
private fun roundTo6Decimals(value: Double): Double = floor(value * 1e6 + 0.5) / 1e6

private fun inside(box: Box, height: Int, width: Int) =
    Box(maxOf(box.x0, 0), maxOf(box.y0, 0), minOf(box.x1, width), minOf(box.y1, height))

/**
 * Cuts the region and resizes it to the classifier's input (step 7).
 *
 * @param mask the cleaned lesion mask, of the picture's size; used where the rule's background is `ZERO`.
 * @param box from [roiBox] for this picture's size and the rule's `outside`.
 * @param size side of the result.
 */
fun cropRoi(picture: Picture, mask: Mask, box: Box, rule: RoiRule, size: Int): Picture {
    val mirror = rule.outside == Outside.REFLECT
    val shown = inside(box, picture.height, picture.width)
    val columns = IntArray(box.width) { source(box.x0 + it, shown.x0, shown.x1, mirror) }
    val cut = ByteArray(3 * box.width * box.height)
    for (y in 0 until box.height) {
        val row = source(box.y0 + y, shown.y0, shown.y1, mirror)
        if (row < 0) continue
        for (x in 0 until box.width) {
            if (columns[x] < 0) continue
            val pixel = row * picture.width + columns[x]
            if (rule.background == Background.ZERO && mask.values[pixel].toInt() == 0) continue
            picture.pixels.copyInto(cut, 3 * (y * box.width + x), 3 * pixel, 3 * pixel + 3)
        }
    }
    return resize(Picture(box.height, box.width, cut), size, size)
}

/** The row or column of the picture that is shown at `position`, or -1 for black. Mirroring repeats the edge: b a | a b. */
private fun source(position: Int, low: Int, high: Int, mirror: Boolean): Int {
    if (position in low until high) return position
    if (!mirror) return -1
    val size = high - low
    val within = Math.floorMod(position - low, 2 * size)
    return low + if (within < size) within else 2 * size - 1 - within
}
