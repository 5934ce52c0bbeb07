package io.github.edgeinfer.bundle

import io.github.edgeinfer.BundleFileMissingError
import io.github.edgeinfer.BundleNotFoundError
import io.github.edgeinfer.BundleSchemaError
import io.github.edgeinfer.BundleTamperedError
import java.io.File
import java.io.IOException
import java.io.InputStream
import java.nio.ByteBuffer
import java.nio.charset.CharacterCodingException
import java.security.MessageDigest

/** Where a bundle's files are: a folder, an app's assets, a download. */
fun interface BundleSource {
    /**
     * Opens a file by its path inside the bundle, such as `bundle.json`.
     *
     * @throws IOException it is not there or cannot be read.
     */
    fun open(path: String): InputStream
}

/** A bundle in a folder of the file system. */
class FolderSource(private val folder: File) : BundleSource {
    override fun open(path: String): InputStream = File(folder, path).inputStream()
}

/**
 * A bundle whose manifest was read and whose files match their hashes.
 *
 * @property sha256 hash of `bundle.json`; as that lists every file's hash, it identifies the whole bundle.
 */
class Bundle internal constructor(val manifest: Manifest, val sha256: String, private val source: BundleSource) {
    /**
     * A file's bytes, checked against the manifest as they are read: what the engine gets is what was hashed.
     *
     * @throws BundleFileMissingError it is not there.
     * @throws BundleTamperedError it differs from its hash.
     */
    fun read(file: String): ByteArray {
        val entry = manifest.files[file]
            ?: throw BundleFileMissingError("bundle.json does not list '$file'.", "Copy the whole bundle again.")
        val data = try {
            source.open(file).use { it.readBytes() }
        } catch (error: IOException) {
            throw BundleFileMissingError("'$file' cannot be read: ${error.message}.", "Copy the whole bundle again.", error)
        }
        val digest = sha256Of(data)
        if (digest != entry.sha256) {
            throw BundleTamperedError(
                "'$file' has SHA-256 ${digest.take(12)}…, the manifest says ${entry.sha256.take(12)}….",
                "The file was changed or damaged; restore the bundle from its source.",
            )
        }
        return data
    }

    companion object {
        /**
         * Reads a bundle's manifest and checks the hash of files before anything is used.
         *
         * @param only paths to check; null checks every file. An app that ships without Core ML packages names those that it
         *   carries.
         * @throws io.github.edgeinfer.BundleError see its subclasses.
         */
        fun load(source: BundleSource, only: Collection<String>? = null): Bundle {
            val raw = try {
                source.open("bundle.json").use { it.readBytes() }
            } catch (error: IOException) {
                throw BundleNotFoundError("There is no bundle.json: ${error.message}.", "Check where the bundle lies.", error)
            }
            val text = try {
                Charsets.UTF_8.newDecoder().decode(ByteBuffer.wrap(raw)).toString()
            } catch (error: CharacterCodingException) {
                throw BundleSchemaError("bundle.json is not UTF-8 text.", "Restore the bundle from its source.", error)
            }
            val bundle = Bundle(parseManifest(text), sha256Of(raw), source)
            for (file in only ?: bundle.manifest.files.keys) bundle.read(file)
            return bundle
        }
    }
}

/** Lower-case hex. */
internal fun sha256Of(data: ByteArray): String =
    MessageDigest.getInstance("SHA-256").digest(data).joinToString("") { "%02x".format(it) }
