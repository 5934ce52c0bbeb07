package io.github.edgeinfer.steps

import io.github.edgeinfer.Band
import io.github.edgeinfer.OperatingPoint

/** Step 8: what the melanoma probability means at an operating point; null where a band leaves it open. */
fun isMelanoma(probability: Double, point: OperatingPoint, band: Band?): Boolean? =
    if (band != null && band.low < probability && probability < band.high) null else probability >= point.threshold
