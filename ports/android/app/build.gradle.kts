plugins {
    alias(libs.plugins.android.application)
    alias(libs.plugins.kotlin.android)
    alias(libs.plugins.kotlin.compose)
}

android {
    namespace = "io.github.edgeinfer.sample"
    compileSdk = 35

    defaultConfig {
        applicationId = "io.github.edgeinfer.sample"
        minSdk = 26
        targetSdk = 35
        versionCode = 1
        versionName = "1.0"
        ndk { abiFilters += listOf("arm64-v8a", "x86_64") }
    }

    buildFeatures { compose = true }

    // Weights do not compress, and an asset that is stored as it is can be read without unpacking.
    androidResources { noCompress += listOf("onnx") }

    compileOptions {
        sourceCompatibility = JavaVersion.VERSION_17
        targetCompatibility = JavaVersion.VERSION_17
    }

    kotlin { jvmToolchain(17) }
}

/** The bundle's files for ONNX Runtime; the app checks their hashes when it starts. Another one: -Pbundle=/path/to/bundle */
val bundleFolder = providers.gradleProperty("bundle").orElse(rootDir.resolve("../../exported/mobile").path)

abstract class CopyBundle : Copy() {
    @get:OutputDirectory
    abstract val assets: DirectoryProperty
}

val copyBundle = tasks.register<CopyBundle>("copyBundle") {
    assets.set(layout.buildDirectory.dir("generated/bundle"))
    from(bundleFolder) { include("bundle.json", "*.onnx") }
    into(assets.dir("bundle"))
}

androidComponents.onVariants { variant ->
    variant.sources.assets?.addGeneratedSourceDirectory(copyBundle, CopyBundle::assets)
}

dependencies {
    implementation(project(":core"))
    implementation(libs.onnxruntime)
    implementation(libs.camera.camera2)
    implementation(libs.camera.lifecycle)
    implementation(libs.camera.view)
    implementation(platform(libs.compose.bom))
    implementation(libs.compose.ui)
    implementation(libs.compose.material3)
    implementation(libs.activity.compose)
    implementation(libs.lifecycle.viewmodel)
    implementation(libs.lifecycle.runtime)
}
