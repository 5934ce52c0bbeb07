package io.github.edgeinfer.steps

import io.github.edgeinfer.ImageDecodeError
import io.github.edgeinfer.ImageTooLargeError

/**
 * What a picture file says about itself before anything is decoded.
 *
 * @property format JPEG, PNG, WebP, BMP, TIFF or HEIC; whether it can be decoded is the decoder's affair.
 * @property width stored columns, before any rotation; 0 where the format hides it (HEIC).
 * @property height stored rows.
 * @property orientation EXIF orientation, 1 to 8; 1 where there is none.
 */
data class Header(val format: String, val width: Int, val height: Int, val orientation: Int = 1)

/** As in the Python runtime. */
const val DEFAULT_MAX_PIXELS: Long = 100_000_000

/**
 * Reads the header of an encoded picture.
 *
 * @throws ImageDecodeError empty, of no known format, or damaged before the size is known.
 */
fun readHeader(data: ByteArray): Header {
    if (data.isEmpty()) throw cut("The picture is empty (0 bytes).")
    val bytes = Bytes(data)
    val header = try {
        when {
            bytes.starts("\u00ff\u00d8\u00ff") -> jpeg(bytes)
            bytes.starts("\u0089PNG\r\n\u001a\n") -> png(bytes)
            bytes.starts("RIFF") && bytes.starts("WEBP", 8) -> webp(bytes)
            bytes.starts("BM") -> bmp(bytes)
            bytes.starts("II*\u0000") || bytes.starts("MM\u0000*") -> tiff(bytes)
            bytes.starts("ftyp", 4) -> return heic(bytes)
            else -> throw ImageDecodeError(
                "This is no picture of a supported format (JPEG, PNG, WebP, BMP, TIFF).",
                "Convert the picture to JPEG or PNG first.",
            )
        }
    } catch (error: IndexOutOfBoundsException) {
        throw cut("The picture file ends before its size is known.", error)
    }
    if (header.width < 1 || header.height < 1) throw damaged("The ${header.format} header gives an empty size.")
    return header
}

/**
 * Refuses a picture before it is decoded, by what its header says.
 *
 * @throws ImageTooLargeError it has more than `maxPixels`.
 */
fun checkPixels(height: Int, width: Int, maxPixels: Long) {
    if (height.toLong() * width > maxPixels) {
        throw ImageTooLargeError(
            "The picture has $width x $height pixels, more than the limit of $maxPixels.",
            "Make it smaller, or raise maxPixels.",
        )
    }
}

private fun damaged(what: String) = ImageDecodeError(what, "Export the picture again.")

private fun cut(what: String, cause: Throwable? = null) =
    ImageDecodeError(what, "Check that it was copied or downloaded completely.", cause)

/** Unsigned reading at a place; past the end it throws IndexOutOfBoundsException. */
private class Bytes(private val data: ByteArray) {
    val size: Int get() = data.size

    operator fun get(at: Int): Int = data[at].toInt() and 255

    fun starts(text: String, at: Int = 0): Boolean =
        at + text.length <= data.size && text.indices.all { this[at + it] == text[it].code }

    fun short(at: Int, little: Boolean = false): Int =
        if (little) this[at] or (this[at + 1] shl 8) else (this[at] shl 8) or this[at + 1]

    /** As much of an unsigned 32-bit number as an Int holds: a larger one is past the end of any file read here. */
    fun int(at: Int, little: Boolean = false): Int {
        val value = if (little) {
            short(at, true).toLong() or (short(at + 2, true).toLong() shl 16)
        } else {
            (short(at).toLong() shl 16) or short(at + 2).toLong()
        }
        return minOf(value, Int.MAX_VALUE.toLong()).toInt()
    }
}

private fun jpeg(data: Bytes): Header {
    var at = 2
    var orientation = 1
    while (true) {
        if (data[at] != 0xFF) throw damaged("The JPEG header is damaged.")
        val marker = data[at + 1]
        if (marker == 0xFF) {
            at++
            continue
        }
        if (marker == 0x01 || marker in 0xD0..0xD8) {
            at += 2
            continue
        }
        val length = data.short(at + 2)
        if (marker in 0xC0..0xCF && marker != 0xC4 && marker != 0xC8 && marker != 0xCC) {
            return Header("JPEG", data.short(at + 7), data.short(at + 5), orientation)
        }
        if (marker == 0xD9 || marker == 0xDA || length < 2) throw damaged("The JPEG header is damaged: it gives no size.")
        if (marker == 0xE1 && data.starts("Exif\u0000\u0000", at + 4)) orientation = orientation(data, at + 10)
        at += 2 + length
    }
}

private fun png(data: Bytes): Header {
    val width = data.int(16)
    val height = data.int(20)
    var at = 8L
    while (at + 8 <= data.size) {
        val position = at.toInt()
        if (data.starts("eXIf", position + 4)) return Header("PNG", width, height, orientation(data, position + 8))
        at += 12L + data.int(position)
    }
    return Header("PNG", width, height)
}

private fun webp(data: Bytes): Header {
    if (data.starts("VP8 ", 12)) {
        return Header("WebP", data.short(26, true) and 0x3FFF, data.short(28, true) and 0x3FFF)
    }
    if (data.starts("VP8L", 12)) {
        val bits = data.short(21, true).toLong() or (data.short(23, true).toLong() shl 16)
        return Header("WebP", (bits and 0x3FFF).toInt() + 1, (bits shr 14 and 0x3FFF).toInt() + 1)
    }
    if (!data.starts("VP8X", 12)) throw damaged("The WebP header is damaged.")
    val width = 1 + (data.short(24, true) or (data[26] shl 16))
    val height = 1 + (data.short(27, true) or (data[29] shl 16))
    var at = 12L
    while (at + 8 <= data.size) {
        val position = at.toInt()
        if (data.starts("EXIF", position)) {
            val start = if (data.starts("Exif\u0000\u0000", position + 8)) position + 14 else position + 8
            return Header("WebP", width, height, orientation(data, start))
        }
        val length = data.int(position + 4, true).toLong()
        at += 8 + length + length % 2
    }
    return Header("WebP", width, height)
}

private fun bmp(data: Bytes): Header {
    if (data.int(14, true) == 12) return Header("BMP", data.short(18, true), data.short(20, true))
    fun signed(at: Int): Int = Math.abs(data.short(at, true) or (data.short(at + 2, true) shl 16))
    return Header("BMP", signed(18), signed(22))
}

private fun tiff(data: Bytes): Header {
    val tags = tags(data, 0)
    return Header("TIFF", tags[256] ?: 0, tags[257] ?: 0, tags[274]?.takeIf { it in 1..8 } ?: 1)
}

private fun heic(data: Bytes): Header {
    val brands = listOf("heic", "heix", "heim", "heis", "mif1", "msf1", "hevc", "avif")
    if (brands.none { data.starts(it, 8) }) {
        throw ImageDecodeError("This is a film or another file, no picture.", "Give a JPEG, PNG or HEIC picture.")
    }
    return Header("HEIC", 0, 0)
}

/** EXIF is a small TIFF file; a damaged one means that nothing is said. */
private fun orientation(data: Bytes, start: Int): Int = try {
    tags(data, start)[274]?.takeIf { it in 1..8 } ?: 1
} catch (_: IndexOutOfBoundsException) {
    1
}

/** Tags of the first directory that hold one whole number. */
private fun tags(data: Bytes, start: Int): Map<Int, Int> {
    val little = data.starts("II", start)
    if (!little && !data.starts("MM", start)) return emptyMap()
    val directory = start + data.int(start + 4, little)
    if (directory < start) throw IndexOutOfBoundsException()
    val found = HashMap<Int, Int>()
    for (i in 0 until data.short(directory, little)) {
        val entry = directory + 2 + 12 * i
        if (data.int(entry + 4, little) != 1) continue
        when (data.short(entry + 2, little)) {
            3 -> found[data.short(entry, little)] = data.short(entry + 8, little)
            4 -> found[data.short(entry, little)] = data.int(entry + 8, little)
        }
    }
    return found
}
