package io.github.edgeinfer.steps

import io.github.edgeinfer.ImageDecodeError

/**
 * Refuses a JPEG that was cut short: many platforms' decoders give the rest as grey, without a word.
 *
 * @throws ImageDecodeError no end of the picture follows its beginning.
 */
fun checkComplete(data: ByteArray, header: Header) {
    if (header.format != "JPEG") return
    val scan = segments(data).firstOrNull { it.marker == SCAN }
    val complete = scan != null &&
        (data.size - 2 downTo scan.end).any { data[it] == 0xFF.toByte() && data[it + 1] == END.toByte() }
    if (!complete) {
        throw ImageDecodeError(
            "The JPEG picture is damaged or cut short.",
            "Check that it was copied or downloaded completely, or export it again.",
        )
    }
}

/**
 * A JPEG without its colour profile, for decoders that would apply it; anything else as it is. Networks were trained on pixels as
 * they are stored (step 1).
 */
fun withoutProfile(data: ByteArray, header: Header): ByteArray {
    if (header.format != "JPEG") return data
    val profiles = segments(data).filter { it.marker == PROFILE && startsWith(data, it.start + 4, "ICC_PROFILE") }.toList()
    if (profiles.isEmpty()) return data
    val kept = ByteArray(data.size - profiles.sumOf { it.end - it.start })
    var from = 0
    var to = 0
    for (profile in profiles) {
        data.copyInto(kept, to, from, profile.start)
        to += profile.start - from
        from = profile.end
    }
    data.copyInto(kept, to, from)
    return kept
}

private const val SCAN = 0xDA
private const val END = 0xD9
private const val PROFILE = 0xE2

/** From its 0xFF at `start` to before `end`. */
private class Segment(val marker: Int, val start: Int, val end: Int)

/** Up to the first scan, after which there is no length to go by. */
private fun segments(data: ByteArray): Sequence<Segment> = sequence {
    fun byte(at: Int) = data[at].toInt() and 255
    var at = 2
    while (at + 4 <= data.size && byte(at) == 0xFF) {
        val marker = byte(at + 1)
        if (marker == 0xFF) {
            at++
            continue
        }
        if (marker == 0x01 || marker in 0xD0..0xD8) {
            at += 2
            continue
        }
        val end = at + 2 + (byte(at + 2) shl 8 or byte(at + 3))
        if (end > data.size || end < at + 4) return@sequence
        yield(Segment(marker, at, end))
        if (marker == SCAN) return@sequence
        at = end
    }
}

private fun startsWith(data: ByteArray, at: Int, text: String): Boolean =
    at + text.length <= data.size && text.indices.all { data[at + it] == text[it].code.toByte() }
