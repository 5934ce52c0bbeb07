package io.github.edgeinfer.steps

import io.github.edgeinfer.ImageDecodeError
import java.util.Locale

/**
 * Refuses a picture of which pixels are wholly transparent: the colours that are stored there are nobody's picture. Transparency of
 * other pixels is dropped. A BMP's fourth channel is not looked at, as in the Python runtime.
 *
 * @param hidden how many pixels have an alpha of 0.
 * @param pixels of the whole picture.
 * @throws ImageDecodeError there are some.
 */
fun refuseHidden(hidden: Int, pixels: Int, header: Header) {
    if (hidden == 0 || header.format == "BMP") return
    throw ImageDecodeError(
        "The ${header.format} picture is transparent in ${"%.2f".format(Locale.ROOT, 100.0 * hidden / pixels)}% of its pixels: the " +
            "colours that are stored there are not those of a photograph.",
        "Save the picture without transparency, as JPEG for example.",
    )
}
