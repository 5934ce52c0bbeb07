package io.github.edgeinfer.desktop

import io.github.edgeinfer.Decoder
import io.github.edgeinfer.ImageDecodeError
import io.github.edgeinfer.ImageUnsupportedError
import io.github.edgeinfer.Picture
import io.github.edgeinfer.steps.Header
import io.github.edgeinfer.steps.refuseHidden
import java.awt.image.BufferedImage
import java.awt.image.DataBuffer
import java.awt.image.IndexColorModel
import java.io.ByteArrayInputStream
import java.io.IOException
import javax.imageio.IIOException
import javax.imageio.ImageIO

/** The JDK's own decoders: JPEG (not CMYK), PNG, BMP, TIFF; no WebP and no HEIC. */
class ImageIoDecoder : Decoder {
    override fun decode(data: ByteArray, header: Header, maxPixels: Long): Picture {
        if (header.format !in setOf("JPEG", "PNG", "BMP", "TIFF")) {
            throw ImageUnsupportedError("The JDK does not decode ${header.format}.", "Convert the picture to JPEG or PNG.")
        }
        ImageIO.setUseCache(false)
        val image = try {
            ImageIO.read(ByteArrayInputStream(data))
        } catch (error: IIOException) {
            throw damaged(error)
        } catch (error: IOException) {
            throw damaged(error)
        } catch (error: RuntimeException) { // some readers meet damaged files with an index out of bounds
            throw damaged(error)
        }
        val found = image ?: throw damaged(null)
        refuseHidden(hidden(found), found.width * found.height, header)
        return pixels(found)
    }

    private fun damaged(cause: Exception?) = ImageDecodeError(
        "The picture is damaged, cut short, or of a kind that the JDK does not decode: ${cause?.message}.",
        "Check that it was copied completely, or export it again.",
        cause,
    )

    /** How many pixels are wholly transparent. */
    private fun hidden(image: BufferedImage): Int {
        if (!image.colorModel.hasAlpha()) return 0
        if (image.colorModel is IndexColorModel) {
            return (0 until image.width * image.height).count { image.getRGB(it % image.width, it / image.width) ushr 24 == 0 }
        }
        val alpha = image.alphaRaster
        val row = IntArray(image.width)
        return (0 until image.height).sumOf { y -> alpha.getSamples(0, y, image.width, 1, 0, row).count { it == 0 } }
    }

    /** Samples as they are stored. `getRGB` would apply colour profiles, so only palettes go that way. */
    private fun pixels(image: BufferedImage): Picture {
        val raster = image.raster
        val result = ByteArray(3 * image.width * image.height)
        if (image.colorModel is IndexColorModel) {
            for (i in 0 until image.width * image.height) {
                val rgb = image.getRGB(i % image.width, i / image.width)
                for (c in 0..2) result[3 * i + c] = (rgb shr (16 - 8 * c)).toByte()
            }
            return Picture(image.height, image.width, result)
        }
        val shift = if (raster.dataBuffer.dataType == DataBuffer.TYPE_USHORT && raster.sampleModel.getSampleSize(0) == 16) 8 else 0
        val bands = raster.numBands
        val row = IntArray(image.width * bands)
        for (y in 0 until image.height) {
            raster.getPixels(0, y, image.width, 1, row)
            for (x in 0 until image.width) {
                for (c in 0..2) {
                    val sample = row[x * bands + if (bands >= 3) c else 0]
                    result[3 * (y * image.width + x) + c] = (sample shr shift).toByte()
                }
            }
        }
        return Picture(image.height, image.width, result)
    }
}
