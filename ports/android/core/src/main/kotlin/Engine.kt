package io.github.edgeinfer

import io.github.edgeinfer.steps.Header
import io.github.edgeinfer.steps.checkComplete
import io.github.edgeinfer.steps.checkPixels
import io.github.edgeinfer.steps.readHeader
import io.github.edgeinfer.steps.upright
import io.github.edgeinfer.steps.withoutProfile

/**
 * One loaded network. ONNX Runtime on Android and stored outputs in tests both stand behind it.
 *
 * Inputs and outputs are one picture at a time.
 */
interface Engine : AutoCloseable {
    /** What really runs it, as the engine reports it. */
    val provider: String

    /** Labels stored in the model file (`edge_infer.labels`), or null where the file or the engine gives none. */
    val labels: List<String>?

    /**
     * Runs the network.
     *
     * @param picture of the network's input size.
     * @return each output by name, flattened without the batch axis, float32.
     * @throws InferenceError the engine failed.
     */
    fun run(picture: Picture): Map<String, FloatArray>
}

/** Turns an encoded picture into pixels; the platform's own, because no two platforms share one. */
interface Decoder {
    /**
     * Decodes at full size, to 8-bit RGB without applying colour profiles, **as stored**: the caller turns it upright. A JPEG comes
     * without its profile.
     *
     * @param maxPixels for formats whose header [io.github.edgeinfer.steps.readHeader] cannot read the size of: refuse larger ones.
     * @param header what the file says about itself.
     * @throws ImageDecodeError damaged or cut short, or transparent somewhere: see [io.github.edgeinfer.steps.refuseHidden], which every
     *   decoder calls.
     * @throws ImageUnsupportedError of a format that this platform does not decode.
     * @throws ImageTooLargeError see `maxPixels`.
     */
    fun decode(data: ByteArray, header: Header, maxPixels: Long): Picture
}

/**
 * Step 1 whole: header, limit, decoding, upright.
 *
 * @throws ImageError see its subclasses.
 */
fun Decoder.open(data: ByteArray, maxPixels: Long): Picture {
    val header = readHeader(data)
    checkPixels(header.height, header.width, maxPixels)
    checkComplete(data, header)
    return upright(decode(withoutProfile(data, header), header, maxPixels), header.orientation)
}
