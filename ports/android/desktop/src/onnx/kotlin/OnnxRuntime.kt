package io.github.edgeinfer.desktop.onnx

import io.github.edgeinfer.Engine
import io.github.edgeinfer.EngineLoadError
import io.github.edgeinfer.InferenceError
import io.github.edgeinfer.Picture
import java.lang.foreign.Arena
import java.lang.foreign.FunctionDescriptor
import java.lang.foreign.Linker
import java.lang.foreign.MemoryLayout
import java.lang.foreign.MemorySegment
import java.lang.foreign.SymbolLookup
import java.lang.foreign.ValueLayout.ADDRESS
import java.lang.foreign.ValueLayout.JAVA_BYTE
import java.lang.foreign.ValueLayout.JAVA_FLOAT
import java.lang.foreign.ValueLayout.JAVA_INT
import java.lang.foreign.ValueLayout.JAVA_LONG
import java.nio.file.Path

/**
 * ONNX Runtime's C API, called from a desktop JVM of version 22 or later without its Java classes.
 *
 * Numbers are places in `OrtApi` of `onnxruntime_c_api.h`, whose order never changes: new functions are added at its end.
 *
 * @param library a `libonnxruntime`, such as the one inside the Python package `onnxruntime`.
 */
class OnnxRuntime(library: Path) {
    private val linker = Linker.nativeLinker()
    private val arena = Arena.global()
    private val api: MemorySegment

    /** Its release, such as 1.31.0. */
    val version: String

    init {
        val getBase = SymbolLookup.libraryLookup(library, arena).find("OrtGetApiBase").orElseThrow()
        val base = linker.downcallHandle(getBase, FunctionDescriptor.of(ADDRESS)).invokeWithArguments() as MemorySegment
        val table = base.reinterpret(2 * ADDRESS.byteSize())
        val getVersion = linker.downcallHandle(table.getAtIndex(ADDRESS, 1), FunctionDescriptor.of(ADDRESS))
        version = text(getVersion.invokeWithArguments() as MemorySegment)
        val getApi = linker.downcallHandle(table.getAtIndex(ADDRESS, 0), FunctionDescriptor.of(ADDRESS, JAVA_INT))
        api = (getApi.invokeWithArguments(API_VERSION) as MemorySegment).reinterpret(ADDRESS.byteSize() * 128)
    }

    private val environment = make(arena, CREATE_ENV, 3, arena.allocateFrom("edge-infer"))
    private val memory = make(arena, CREATE_CPU_MEMORY_INFO, 0, 0)

    /**
     * Opens a network.
     *
     * @param outputs names of the outputs that are wanted.
     * @throws EngineLoadError it is no ONNX file that this release reads.
     */
    fun open(model: ByteArray, input: String, outputs: List<String>, threads: Int = 1): Engine = try {
        val data = arena.allocateFrom(JAVA_BYTE, *model)
        val options = make(arena, CREATE_SESSION_OPTIONS)
        call(SET_INTRA_OP_NUM_THREADS, options, threads)
        OnnxEngine(make(arena, CREATE_SESSION_FROM_ARRAY, environment, data, model.size.toLong(), options), input, outputs)
    } catch (error: InferenceError) {
        throw EngineLoadError("ONNX Runtime cannot open the network: ${error.problem}", "Use the bundle's own files.", error)
    }

    private inner class OnnxEngine(
        private val session: MemorySegment,
        private val input: String,
        private val outputs: List<String>,
    ) : Engine {
        override val provider = "ONNX Runtime $version, CPU"
        override val labels: List<String>? = null

        override fun run(picture: Picture): Map<String, FloatArray> = Arena.ofConfined().use { local ->
            val data = local.allocateFrom(JAVA_BYTE, *picture.pixels)
            val shape = local.allocateFrom(JAVA_LONG, 1L, picture.height.toLong(), picture.width.toLong(), 3L)
            val size = picture.pixels.size.toLong()
            val tensor = make(local, CREATE_TENSOR_WITH_DATA, memory, data, size, shape, 4L, UINT8)
            val results = local.allocate(ADDRESS, outputs.size.toLong())
            call(
                RUN, session, MemorySegment.NULL, names(local, listOf(input)), pointers(local, listOf(tensor)), 1L,
                names(local, outputs), outputs.size.toLong(), results,
            )
            release(RELEASE_VALUE, tensor)
            outputs.withIndex().associate { (i, name) ->
                val value = results.getAtIndex(ADDRESS, i.toLong())
                name to floats(local, value).also { release(RELEASE_VALUE, value) }
            }
        }

        override fun close() = release(RELEASE_SESSION, session)
    }

    private fun floats(local: Arena, value: MemorySegment): FloatArray {
        val info = make(local, GET_TENSOR_TYPE_AND_SHAPE, value)
        val count = local.allocate(JAVA_LONG)
        call(GET_TENSOR_SHAPE_ELEMENT_COUNT, info, count)
        release(RELEASE_TENSOR_TYPE_AND_SHAPE_INFO, info)
        val data = make(local, GET_TENSOR_MUTABLE_DATA, value)
        return data.reinterpret(count.get(JAVA_LONG, 0) * JAVA_FLOAT.byteSize()).toArray(JAVA_FLOAT)
    }

    private fun names(local: Arena, texts: List<String>) = pointers(local, texts.map { local.allocateFrom(it) })

    private fun pointers(local: Arena, segments: List<MemorySegment>): MemorySegment {
        val table = local.allocate(ADDRESS, segments.size.toLong())
        segments.forEachIndexed { i, segment -> table.setAtIndex(ADDRESS, i.toLong(), segment) }
        return table
    }

    /** Calls a function whose last argument receives a pointer, and gives that. */
    private fun make(local: Arena, function: Long, vararg arguments: Any): MemorySegment {
        val place = local.allocate(ADDRESS)
        call(function, *arguments, place)
        return place.get(ADDRESS, 0)
    }

    private fun call(function: Long, vararg arguments: Any) {
        val status = handle(function, ADDRESS, arguments).invokeWithArguments(*arguments) as MemorySegment
        if (status == MemorySegment.NULL) return
        val message = text(handle(GET_ERROR_MESSAGE, ADDRESS, arrayOf(status)).invokeWithArguments(status) as MemorySegment)
        release(RELEASE_STATUS, status)
        throw InferenceError("ONNX Runtime failed: $message.", "Restore the bundle.")
    }

    private fun release(function: Long, pointer: MemorySegment) {
        handle(function, null, arrayOf(pointer)).invokeWithArguments(pointer)
    }

    private fun handle(function: Long, result: MemoryLayout?, arguments: Array<out Any>) = linker.downcallHandle(
        api.getAtIndex(ADDRESS, function),
        arguments.map { layout(it) }.toTypedArray().let {
            if (result == null) FunctionDescriptor.ofVoid(*it) else FunctionDescriptor.of(result, *it)
        },
    )

    private fun layout(argument: Any): MemoryLayout = when (argument) {
        is Int -> JAVA_INT
        is Long -> JAVA_LONG
        else -> ADDRESS
    }

    private fun text(pointer: MemorySegment) = pointer.reinterpret(Long.MAX_VALUE).getString(0)

    private companion object {
        const val API_VERSION = 17
        const val UINT8 = 2
        const val GET_ERROR_MESSAGE = 2L
        const val CREATE_ENV = 3L
        const val CREATE_SESSION_FROM_ARRAY = 8L
        const val RUN = 9L
        const val CREATE_SESSION_OPTIONS = 10L
        const val SET_INTRA_OP_NUM_THREADS = 24L
        const val CREATE_TENSOR_WITH_DATA = 49L
        const val GET_TENSOR_MUTABLE_DATA = 51L
        const val GET_TENSOR_SHAPE_ELEMENT_COUNT = 64L
        const val GET_TENSOR_TYPE_AND_SHAPE = 65L
        const val CREATE_CPU_MEMORY_INFO = 69L
        const val RELEASE_STATUS = 93L
        const val RELEASE_SESSION = 95L
        const val RELEASE_VALUE = 96L
        const val RELEASE_TENSOR_TYPE_AND_SHAPE_INFO = 99L
    }
}
