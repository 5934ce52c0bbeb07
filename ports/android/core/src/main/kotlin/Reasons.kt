package io.github.edgeinfer

/**
 * Why a picture is indeterminate; all but [UNCERTAIN] leave it without a probability.
 *
 * @property value the name in results and vectors, the same in every port.
 */
enum class Reason(val value: String) {
    NO_LESION("no_lesion"),
    LESION_UNCERTAIN("lesion_uncertain"),
    LESION_TOO_SMALL("lesion_too_small"),
    LESION_FILLS_FRAME("lesion_fills_frame"),
    PICTURE_TOO_SMALL("picture_too_small"),
    BLANK("blank"),
    UNIFORM("uniform"),
    TOO_DARK("too_dark"),
    OVEREXPOSED("overexposed"),
    BLURRED("blurred"),
    NOT_DERMOSCOPY("not_dermoscopy"),
    UNCERTAIN("uncertain"),
    ;

    companion object {
        /** The reason of this name, or null. */
        fun of(value: String): Reason? = entries.firstOrNull { it.value == value }
    }
}
