package io.github.edgeinfer.sample

import android.app.Application
import android.net.Uri
import androidx.lifecycle.AndroidViewModel
import androidx.lifecycle.viewModelScope
import io.github.edgeinfer.Diagnoser
import io.github.edgeinfer.Diagnosis
import io.github.edgeinfer.EdgeInferError
import io.github.edgeinfer.bundle.Bundle
import java.io.IOException
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.flow.MutableStateFlow
import kotlinx.coroutines.flow.StateFlow
import kotlinx.coroutines.launch
import kotlinx.coroutines.sync.Mutex
import kotlinx.coroutines.sync.withLock
import kotlinx.coroutines.withContext

/** What the screen shows. */
sealed interface State {
    /** The bundle is being checked and opened. */
    data object Loading : State

    /** Waiting for a picture. */
    data object Ready : State

    /** A picture is on its way. */
    data object Working : State

    /** An answer; nothing of the picture but the crop is kept, until [DiagnosisViewModel.clear]. */
    data class Answer(val diagnosis: Diagnosis) : State

    /** The picture or the bundle cannot be used. */
    data class Failed(val code: String, val message: String, val fatal: Boolean) : State
}

/** Loads the bundle once and diagnoses one picture at a time, away from the screen's thread. */
class DiagnosisViewModel(application: Application) : AndroidViewModel(application) {
    private val shown = MutableStateFlow<State>(State.Loading)
    private val lock = Mutex()
    private var diagnoser: Diagnoser? = null
    private var provider = Provider.XNNPACK

    /** What the screen shows. */
    val state: StateFlow<State> = shown

    init {
        choose(provider)
    }

    /** Opens the networks with another provider. */
    fun choose(provider: Provider) {
        this.provider = provider
        work(State.Loading) {
            diagnoser?.close()
            diagnoser = null
            diagnoser = open(provider)
            State.Ready
        }
    }

    /** Diagnoses a picture that the camera took. */
    fun diagnose(data: ByteArray) = work(State.Working) {
        State.Answer((diagnoser ?: open(provider).also { diagnoser = it }).diagnose(data))
    }

    /** Diagnoses a picture that was picked. */
    fun diagnose(picture: Uri) = work(State.Working) {
        val stream = getApplication<Application>().contentResolver.openInputStream(picture) ?: throw IOException("nothing there")
        val data = stream.use { it.readBytes() }
        State.Answer((diagnoser ?: open(provider).also { diagnoser = it }).diagnose(data))
    }

    /** Forgets the last person's picture. */
    fun clear() {
        if (shown.value !is State.Loading) shown.value = State.Ready
    }

    /** The camera was lost, or refused. */
    fun fail(code: String, message: String) {
        shown.value = State.Failed(code, message, fatal = false)
    }

    override fun onCleared() {
        diagnoser?.close()
    }

    private fun open(provider: Provider): Diagnoser {
        val context = getApplication<Application>()
        val bundle = Bundle.load(AssetSource(context.assets, "bundle"), only = emptyList())
        val manifest = bundle.manifest
        val (segmenter, classifier) = listOf(manifest.segmenter, manifest.classifier).map { stage ->
            OnnxEngine.open(bundle.read(manifest.onnxFile(stage)), stage.input.name, provider, THREADS)
        }
        return Diagnoser(bundle, segmenter, classifier, BitmapDecoder(), maxPixels = MAX_PIXELS)
    }

    private fun work(meanwhile: State, step: () -> State) {
        viewModelScope.launch {
            lock.withLock {
                shown.value = meanwhile
                shown.value = withContext(Dispatchers.Default) {
                    try {
                        step()
                    } catch (error: EdgeInferError) {
                        State.Failed(error.code, "${error.problem} ${error.remedy}", fatal = diagnoser == null)
                    } catch (error: IOException) {
                        State.Failed("image-access", "The picture cannot be read: ${error.message}", fatal = false)
                    } catch (error: OutOfMemoryError) {
                        State.Failed("image-too-large", "There is no memory for this picture.", fatal = false)
                    }
                }
            }
        }
    }

    private companion object {
        /** A phone's camera gives 12 million; 50 take some 350 MB while they are decoded. */
        const val MAX_PIXELS = 50_000_000L
        const val THREADS = 2
    }
}
