package io.github.edgeinfer.sample

import android.graphics.Bitmap
import android.graphics.BitmapFactory
import android.graphics.Color
import io.github.edgeinfer.Decoder
import io.github.edgeinfer.ImageDecodeError
import io.github.edgeinfer.ImageTooLargeError
import io.github.edgeinfer.ImageUnsupportedError
import io.github.edgeinfer.Picture
import io.github.edgeinfer.steps.Header
import io.github.edgeinfer.steps.refuseHidden

/**
 * Android's own decoder: JPEG, PNG, WebP, BMP, and HEIC where the phone has one (Android 9 on). It does not apply EXIF's
 * orientation; the core does, and takes a JPEG's colour profile away first. A PNG or HEIC with another colour space than sRGB is
 * converted to sRGB, which the Python runtime does not do.
 */
class BitmapDecoder : Decoder {
    override fun decode(data: ByteArray, header: Header, maxPixels: Long): Picture {
        val bounds = BitmapFactory.Options().apply { inJustDecodeBounds = true }
        BitmapFactory.decodeByteArray(data, 0, data.size, bounds)
        if (bounds.outWidth < 1) {
            throw ImageUnsupportedError("This phone does not decode ${header.format}.", "Give a JPEG or PNG picture.")
        }
        if (bounds.outWidth.toLong() * bounds.outHeight > maxPixels) {
            throw ImageTooLargeError("The picture has ${bounds.outWidth} x ${bounds.outHeight} pixels.", "Make it smaller.")
        }
        val options = BitmapFactory.Options().apply {
            inPreferredConfig = Bitmap.Config.ARGB_8888
            inPremultiplied = false
            inScaled = false
        }
        val bitmap = try {
            BitmapFactory.decodeByteArray(data, 0, data.size, options)
        } catch (error: OutOfMemoryError) {
            throw ImageTooLargeError("There is no memory for this picture.", "Close other apps, or make it smaller.", error)
        } ?: throw ImageDecodeError(
            "The ${header.format} picture is damaged or cut short.",
            "Check that it was copied completely, or take another one.",
        )
        try {
            return pixels(bitmap, header)
        } finally {
            bitmap.recycle()
        }
    }

    private fun pixels(bitmap: Bitmap, header: Header): Picture {
        val result = ByteArray(3 * bitmap.width * bitmap.height)
        val row = IntArray(bitmap.width)
        var at = 0
        var hidden = 0
        for (y in 0 until bitmap.height) {
            bitmap.getPixels(row, 0, bitmap.width, 0, y, bitmap.width, 1)
            for (pixel in row) {
                if (Color.alpha(pixel) == 0) hidden++
                result[at++] = Color.red(pixel).toByte()
                result[at++] = Color.green(pixel).toByte()
                result[at++] = Color.blue(pixel).toByte()
            }
        }
        refuseHidden(hidden, bitmap.width * bitmap.height, header)
        return Picture(bitmap.height, bitmap.width, result)
    }
}
