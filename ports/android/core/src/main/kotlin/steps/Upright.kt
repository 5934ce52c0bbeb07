package io.github.edgeinfer.steps

import io.github.edgeinfer.Picture

/**
 * Turns stored pixels upright (step 1), for decoders that leave EXIF's orientation to the caller.
 *
 * @param orientation 1 to 8; anything else counts as 1.
 */
fun upright(stored: Picture, orientation: Int): Picture {
    if (orientation !in 2..8) return stored
    val turned = orientation >= 5
    val height = if (turned) stored.width else stored.height
    val width = if (turned) stored.height else stored.width
    val lastRow = stored.height - 1
    val lastColumn = stored.width - 1
    val pixels = ByteArray(stored.pixels.size)
    for (y in 0 until height) {
        for (x in 0 until width) {
            val row: Int
            val column: Int
            when (orientation) {
                2 -> { row = y; column = lastColumn - x }
                3 -> { row = lastRow - y; column = lastColumn - x }
                4 -> { row = lastRow - y; column = x }
                5 -> { row = x; column = y }
                6 -> { row = lastRow - x; column = y }
                7 -> { row = lastRow - x; column = lastColumn - y }
                else -> { row = x; column = lastColumn - y }
            }
            val from = 3 * (row * stored.width + column)
            stored.pixels.copyInto(pixels, 3 * (y * width + x), from, from + 3)
        }
    }
    return Picture(height, width, pixels)
}
