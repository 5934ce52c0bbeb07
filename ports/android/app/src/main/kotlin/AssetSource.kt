package io.github.edgeinfer.sample

import android.content.res.AssetManager
import io.github.edgeinfer.bundle.BundleSource
import java.io.InputStream

/** A bundle in a folder of the app's assets. */
class AssetSource(private val assets: AssetManager, private val folder: String) : BundleSource {
    override fun open(path: String): InputStream = assets.open("$folder/$path")
}
