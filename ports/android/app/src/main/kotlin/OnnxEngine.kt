package io.github.edgeinfer.sample

import ai.onnxruntime.OnnxJavaType
import ai.onnxruntime.OnnxTensor
import ai.onnxruntime.OrtEnvironment
import ai.onnxruntime.OrtException
import ai.onnxruntime.OrtSession
import io.github.edgeinfer.Engine
import io.github.edgeinfer.EngineLoadError
import io.github.edgeinfer.InferenceError
import io.github.edgeinfer.Picture
import io.github.edgeinfer.ProviderUnavailableError
import io.github.edgeinfer.json.parseJson
import java.nio.ByteBuffer

/** What runs the networks. Float32 on XNNPACK is the safe choice; NNAPI depends on the vendor's driver. */
enum class Provider { CPU, XNNPACK, NNAPI }

/**
 * A network in ONNX Runtime for Android.
 *
 * @param model the file's bytes, as [io.github.edgeinfer.bundle.Bundle.read] gives them: hashed.
 */
class OnnxEngine(model: ByteArray, private val input: String, override val provider: String, options: OrtSession.SessionOptions) :
    Engine {
    private val environment = OrtEnvironment.getEnvironment()
    private val session = try {
        environment.createSession(model, options)
    } catch (error: OrtException) {
        throw EngineLoadError("ONNX Runtime cannot open the network: ${error.message}.", "Use the bundle's own files.", error)
    }

    override val labels: List<String>? =
        session.metadata.customMetadata["edge_infer.labels"]?.let { text -> (parseJson(text) as List<*>).map { "$it" } }

    override fun run(picture: Picture): Map<String, FloatArray> {
        val pixels = ByteBuffer.allocateDirect(picture.pixels.size).put(picture.pixels)
        pixels.rewind()
        val shape = longArrayOf(1, picture.height.toLong(), picture.width.toLong(), 3)
        try {
            OnnxTensor.createTensor(environment, pixels, shape, OnnxJavaType.UINT8).use { tensor ->
                session.run(mapOf(input to tensor)).use { results ->
                    return results.associate { (name, value) ->
                        val buffer = (value as OnnxTensor).floatBuffer
                        name to FloatArray(buffer.remaining()).also { buffer.get(it) }
                    }
                }
            }
        } catch (error: OrtException) {
            throw InferenceError("ONNX Runtime failed: ${error.message}.", "Try the CPU provider.", error)
        }
    }

    override fun close() = session.close()

    companion object {
        /**
         * @throws ProviderUnavailableError the provider is not in this build of ONNX Runtime. Nothing else is taken in its place.
         */
        fun open(model: ByteArray, input: String, provider: Provider, threads: Int): OnnxEngine {
            val options = OrtSession.SessionOptions()
            try {
                when (provider) {
                    Provider.CPU -> options.setIntraOpNumThreads(threads)
                    Provider.XNNPACK -> {
                        options.setIntraOpNumThreads(1)
                        options.addXnnpack(mapOf("intra_op_num_threads" to "$threads"))
                    }
                    Provider.NNAPI -> options.addNnapi()
                }
            } catch (error: OrtException) {
                throw ProviderUnavailableError("$provider is not available: ${error.message}.", "Choose CPU.", error)
            }
            return OnnxEngine(model, input, provider.name, options)
        }
    }
}
