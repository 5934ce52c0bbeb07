package io.github.edgeinfer.desktop

import io.github.edgeinfer.EdgeInferError
import io.github.edgeinfer.ImageUnsupportedError
import io.github.edgeinfer.bundle.Bundle
import io.github.edgeinfer.bundle.FolderSource
import java.io.File
import kotlin.system.exitProcess

private const val USAGE = "usage: BUNDLE_FOLDER VECTOR_FOLDER [REPORT.json]"

/** Replays the conformance vectors on this JVM, without networks. */
fun main(arguments: Array<String>) {
    exitProcess(conformance(arguments) { null })
}

/**
 * Replays the conformance vectors.
 *
 * @param arguments the bundle's folder, the vectors' folder, and where to write a report.
 * @param open makes the bundle's networks, or null where vectors that need them are to be left out.
 * @return 0 where all pass, 1 where one fails, 2 where they cannot be run.
 */
fun conformance(arguments: Array<String>, open: (Bundle) -> Networks?): Int {
    if (arguments.size !in 2..3) return refuse(USAGE)
    val bundle: Bundle
    val networks: Networks?
    try {
        bundle = Bundle.load(FolderSource(File(arguments[0])))
        networks = open(bundle)
    } catch (error: EdgeInferError) {
        return refuse("${error.code}: ${error.message}")
    }
    val index = readVectors(File(arguments[1]))
    if (index.bundleSha256 != bundle.sha256) {
        return refuse("These vectors were made from another bundle. Write them again: edge-infer vectors BUNDLE -o DIR")
    }
    val rows = index.vectors.map { replay(it, index.needs[it.step], bundle, networks) }
    arguments.getOrNull(2)?.let { File(it).writeText(report(bundle, networks, rows)) }
    rows.filter { it.status == "failed" }.forEach { println("FAILED ${it.vector.name}: ${it.notes.joinToString("; ")}") }
    for ((why, left) in rows.filter { it.status == "left out" }.groupBy { it.notes.first() }) {
        println("left out, $why: ${left.size} of ${left.map { it.vector.step }.toSet().joinToString()}")
    }
    val counts = rows.groupingBy { it.status }.eachCount()
    println("${counts["passed"] ?: 0} passed, ${counts["failed"] ?: 0} failed, ${counts["left out"] ?: 0} left out")
    return if ("failed" in counts) 1 else 0
}

private fun refuse(why: String): Int {
    System.err.println(why)
    return 2
}

/** One vector's line in the report; `notes` has the failures, or why it was left out. */
class Row(val vector: Vector, val status: String, val notes: List<String>, val deviations: Map<String, Double>)

private fun replay(vector: Vector, needs: String?, bundle: Bundle, networks: Networks?): Row {
    if (needs == "networks" && networks == null) return Row(vector, "left out", listOf("no engine at hand"), emptyMap())
    val step = STEPS[vector.step] ?: return Row(vector, "failed", listOf("unknown step '${vector.step}'"), emptyMap())
    val found = try {
        step(Given(vector.given, bundle, networks))
    } catch (error: EdgeInferError) {
        if (error is ImageUnsupportedError && vector.expect["error"] != error.code) {
            return Row(vector, "left out", listOf(error.problem), emptyMap())
        }
        mapOf("error" to error.code)
    }
    val outcome = compare(vector, found)
    val status = if (outcome.failures.isEmpty()) "passed" else "failed"
    return Row(vector, status, outcome.failures, outcome.deviations)
}

private fun report(bundle: Bundle, networks: Networks?, rows: List<Row>): String {
    val lines = rows.map { row ->
        val deviations = row.deviations.entries.joinToString { "${quoted(it.key)}: ${it.value}" }
        "{\"name\": ${quoted(row.vector.name)}, \"step\": ${quoted(row.vector.step)}, \"status\": ${quoted(row.status)}, " +
            "\"notes\": [${row.notes.joinToString { quoted(it) }}], \"deviations\": {$deviations}}"
    }
    val runtime = "Java ${System.getProperty("java.version")}, Kotlin ${KotlinVersion.CURRENT}"
    val engine = networks?.let { quoted(it.segmenter.provider) }
    return "{\"port\": \"kotlin\", \"runtime\": ${quoted(runtime)}, \"engine\": $engine, \"bundle\": ${quoted(bundle.manifest.name)}, " +
        "\"bundle_sha256\": ${quoted(bundle.sha256)}, \"vectors\": [\n${lines.joinToString(",\n")}\n]}\n"
}

internal fun quoted(text: String): String = buildString {
    append('"')
    for (c in text) {
        when {
            c == '"' || c == '\\' -> append('\\').append(c)
            c < ' ' -> append("\\u%04x".format(c.code))
            else -> append(c)
        }
    }
    append('"')
}
