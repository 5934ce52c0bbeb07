package io.github.edgeinfer.desktop

import io.github.edgeinfer.Mask
import io.github.edgeinfer.Picture
import io.github.edgeinfer.ProbabilityMap
import io.github.edgeinfer.json.Table
import io.github.edgeinfer.json.parseJson
import java.io.File
import java.nio.ByteBuffer
import java.nio.ByteOrder

/** An array of a vector: uint8 in `bytes` or float32 in `floats`, rows first. */
class Values(val shape: List<Int>, val bytes: ByteArray?, val floats: FloatArray?) {
    val size: Int get() = bytes?.size ?: floats!!.size

    operator fun get(i: Int): Double = bytes?.let { (it[i].toInt() and 255).toDouble() } ?: floats!![i].toDouble()

    fun picture(): Picture = Picture(shape[0], shape[1], bytes!!)

    fun mask(): Mask = Mask(shape[0], shape[1], bytes!!)

    fun map(): ProbabilityMap = ProbabilityMap(shape[0], shape[1], floats!!)
}

/** The bytes of an encoded picture. */
class FileBytes(val data: ByteArray)

/** One check of one step; see `exported/conformance/README.md`. Arrays and files are read when they are asked for. */
class Vector(
    val name: String,
    val step: String,
    given: Map<String, Any?>,
    expect: Map<String, Any?>,
    val tolerance: Map<String, Map<String, Double>>,
    private val folder: File,
) {
    val given: Map<String, Any?> by lazy { given.mapValues { resolve(it.value) } }
    val expect: Map<String, Any?> by lazy { expect.mapValues { resolve(it.value) } }

    private fun resolve(value: Any?): Any? = when {
        value is Map<*, *> && value.keys == setOf("array", "dtype", "shape") -> array(value)
        value is Map<*, *> && value.keys == setOf("file") -> FileBytes(File(folder, value["file"] as String).readBytes())
        value is Map<*, *> -> value.mapValues { resolve(it.value) }
        value is List<*> -> value.map { resolve(it) }
        else -> value
    }

    private fun array(reference: Map<*, *>): Values {
        val raw = File(folder, reference["array"] as String).readBytes()
        val shape = (reference["shape"] as List<*>).map { (it as Long).toInt() }
        return when (val dtype = reference["dtype"]) {
            "uint8" -> Values(shape, raw, null)
            "float32" -> {
                val floats = FloatArray(raw.size / 4)
                ByteBuffer.wrap(raw).order(ByteOrder.LITTLE_ENDIAN).asFloatBuffer().get(floats)
                Values(shape, null, floats)
            }
            else -> error("unknown dtype $dtype")
        }
    }
}

/** The vectors of a folder, and the bundle that they belong to. */
class Index(val bundleSha256: String, val needs: Map<String, String>, val vectors: List<Vector>)

/** Reads `index.json`. */
fun readVectors(folder: File): Index {
    val table = Table.asTable(parseJson(File(folder, "index.json").readText()), "")
    require(table.long("format") == 1L) { "these vectors are of another format than 1" }
    return Index(
        table.table("bundle").text("sha256"),
        table.named("steps") { it.text("needs") },
        table.tables("vectors").map { entry ->
            val bounds = entry.named("tolerance") { bound -> bound.entries.keys.associateWith { bound.number(it) } }
            val (given, expect) = listOf("given", "expect").map { entry.table(it).entries }
            Vector(entry.text("name"), entry.text("step"), given, expect, bounds, folder)
        },
    )
}
