package io.github.edgeinfer.desktop.onnx

import io.github.edgeinfer.Diagnoser
import io.github.edgeinfer.EdgeInferError
import io.github.edgeinfer.bundle.Bundle
import io.github.edgeinfer.bundle.FolderSource
import io.github.edgeinfer.desktop.ImageIoDecoder
import io.github.edgeinfer.desktop.Networks
import io.github.edgeinfer.desktop.conformance
import io.github.edgeinfer.desktop.label
import io.github.edgeinfer.desktop.quoted
import java.io.File
import java.nio.file.Path
import kotlin.system.exitProcess

private const val USAGE = "usage: LIBONNXRUNTIME conformance BUNDLE VECTORS [REPORT.json] | LIBONNXRUNTIME diagnose BUNDLE PICTURE..."

/** As the other `main`, with the bundle's networks in ONNX Runtime; or diagnoses pictures, one line of JSON each. */
fun main(arguments: Array<String>) {
    if (arguments.size < 4) {
        System.err.println(USAGE)
        exitProcess(2)
    }
    val runtime = OnnxRuntime(Path.of(arguments[0]))
    val rest = arguments.copyOfRange(2, arguments.size)
    when (arguments[1]) {
        "conformance" -> exitProcess(conformance(rest) { runtime.networks(it) })
        "diagnose" -> diagnose(runtime, rest)
        else -> System.err.println(USAGE)
    }
}

private fun OnnxRuntime.networks(bundle: Bundle): Networks {
    val manifest = bundle.manifest
    val (first, second) = listOf(manifest.segmenter, manifest.classifier)
    val outputs = listOfNotNull(first.output, manifest.familiarity?.output)
    return Networks(
        open(bundle.read(manifest.onnxFile(first)), first.input.name, outputs),
        open(bundle.read(manifest.onnxFile(second)), second.input.name, listOf(second.output)),
    )
}

private fun diagnose(runtime: OnnxRuntime, arguments: Array<String>) {
    val bundle = Bundle.load(FolderSource(File(arguments[0])))
    val networks = runtime.networks(bundle)
    val diagnoser = Diagnoser(bundle, networks.segmenter, networks.classifier, ImageIoDecoder())
    for (picture in arguments.drop(1)) {
        val start = System.nanoTime()
        val answer = try {
            val found = diagnoser.diagnose(File(picture).readBytes())
            "\"status\": ${quoted(found.status)}, \"reason\": ${found.reason?.let { quoted(it.value) }}, " +
                "\"melanoma_probability\": ${found.melanomaProbability}, \"label\": ${found.isMelanoma?.let { quoted(label(it)) }}"
        } catch (error: EdgeInferError) {
            "\"status\": \"error\", \"code\": ${quoted(error.code)}"
        }
        println("{\"source\": ${quoted(picture)}, $answer, \"milliseconds\": ${(System.nanoTime() - start) / 1e6}}")
    }
}
