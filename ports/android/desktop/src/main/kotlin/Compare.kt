package io.github.edgeinfer.desktop

import kotlin.math.abs
import kotlin.math.max
import kotlin.math.min

/**
 * How one vector went.
 *
 * @property failures a sentence for each result that is off.
 * @property deviations measured values by `<result>.<measure>`.
 */
class Outcome(val failures: List<String>, val deviations: Map<String, Double>)

/** Holds results against what a vector expects: within the bounds where there are some, otherwise equal. */
fun compare(vector: Vector, found: Map<String, Any?>): Outcome {
    val failures = ArrayList<String>()
    val deviations = LinkedHashMap<String, Double>()
    for ((key, wanted) in vector.expect) {
        if (key !in found) {
            failures += "$key: missing; found ${found.mapValues { short(it.value) }}"
            continue
        }
        val bounds = vector.tolerance[key]
        val value = found[key]
        if (bounds == null || wanted == null || value == null) {
            if (!same(wanted, value)) failures += "$key: ${short(value)}, expected ${short(wanted)}"
            continue
        }
        val a = numbers(wanted)
        val b = numbers(value)
        if (a.size != b.size || shape(wanted) != shape(value)) {
            failures += "$key: ${short(value)}, expected ${short(wanted)}"
            continue
        }
        for ((measure, bound) in bounds) {
            val deviation = measured(measure, a, b)
            deviations["$key.$measure"] = deviation
            val holds = if (measure.startsWith("min")) deviation >= bound else deviation <= bound
            if (!holds) failures += "$key: $measure $deviation, bound $bound"
        }
    }
    return Outcome(failures, deviations)
}

private fun measured(measure: String, a: DoubleArray, b: DoubleArray): Double = when (measure) {
    "max_abs" -> a.indices.maxOfOrNull { abs(a[it] - b[it]) } ?: 0.0
    "mean_abs" -> if (a.isEmpty()) 0.0 else a.indices.sumOf { abs(a[it] - b[it]) } / a.size
    "max_relative" -> a.indices.maxOfOrNull { abs(a[it] - b[it]) / max(abs(a[it]), 1e-12) } ?: 0.0
    "max_share" -> if (a.isEmpty()) 0.0 else a.indices.count { a[it] != b[it] } / a.size.toDouble()
    "min_iou" -> {
        val union = a.indices.sumOf { max(a[it], b[it]) }
        if (union == 0.0) 1.0 else a.indices.sumOf { min(a[it], b[it]) } / union
    }
    else -> error("unknown measure $measure")
}

private fun numbers(value: Any): DoubleArray = when (value) {
    is Values -> DoubleArray(value.size) { value[it] }
    is Number -> doubleArrayOf(value.toDouble())
    is List<*> -> value.flatMap { numbers(it!!).toList() }.toDoubleArray()
    else -> error("no numbers in $value")
}

private fun shape(value: Any): List<Int> = when (value) {
    is Values -> value.shape
    is List<*> -> listOf(value.size) + (value.firstOrNull()?.let { shape(it) } ?: emptyList())
    else -> emptyList()
}

private fun same(a: Any?, b: Any?): Boolean = when {
    a is Number && b is Number -> a.toDouble() == b.toDouble()
    a is Values && b is Values -> shape(a) == shape(b) && numbers(a).contentEquals(numbers(b))
    a is List<*> && b is List<*> -> a.size == b.size && a.indices.all { same(a[it], b[it]) }
    a is Map<*, *> && b is Map<*, *> -> a.keys == b.keys && a.keys.all { same(a[it], b[it]) }
    else -> a == b
}

private fun short(value: Any?): String = if (value is Values) "array ${value.shape}" else "$value".take(100)
