package io.github.edgeinfer.sample

import android.Manifest
import android.os.Bundle
import android.view.WindowManager
import androidx.activity.ComponentActivity
import androidx.activity.compose.rememberLauncherForActivityResult
import androidx.activity.compose.setContent
import androidx.activity.result.PickVisualMediaRequest
import androidx.activity.result.contract.ActivityResultContracts
import androidx.activity.viewModels
import androidx.compose.foundation.isSystemInDarkTheme
import androidx.compose.foundation.layout.fillMaxSize
import androidx.compose.material3.MaterialTheme
import androidx.compose.material3.Surface
import androidx.compose.material3.darkColorScheme
import androidx.compose.material3.lightColorScheme
import androidx.compose.runtime.Composable
import androidx.compose.runtime.getValue
import androidx.compose.runtime.mutableStateOf
import androidx.compose.runtime.remember
import androidx.compose.runtime.setValue
import androidx.compose.ui.Modifier
import androidx.lifecycle.compose.collectAsStateWithLifecycle

/** The only screen. */
class MainActivity : ComponentActivity() {
    private val model: DiagnosisViewModel by viewModels()

    override fun onCreate(savedInstanceState: Bundle?) {
        super.onCreate(savedInstanceState)
        // Pictures of people stay out of screenshots and of the list of recent apps.
        window.setFlags(WindowManager.LayoutParams.FLAG_SECURE, WindowManager.LayoutParams.FLAG_SECURE)
        setContent {
            MaterialTheme(colorScheme = if (isSystemInDarkTheme()) darkColorScheme() else lightColorScheme()) {
                Surface(Modifier.fillMaxSize()) { Screen(model) }
            }
        }
    }

    override fun onStop() {
        super.onStop()
        if (!isChangingConfigurations) model.clear()
    }
}

@Composable
private fun Screen(model: DiagnosisViewModel) {
    val state by model.state.collectAsStateWithLifecycle()
    var camera by remember { mutableStateOf(false) }
    val pick = rememberLauncherForActivityResult(ActivityResultContracts.PickVisualMedia()) { it?.let(model::diagnose) }
    val ask = rememberLauncherForActivityResult(ActivityResultContracts.RequestPermission()) { granted ->
        camera = granted
        if (!granted) model.fail("camera-denied", "The camera may not be used. Allow it in the settings, or choose a picture.")
    }
    if (camera) {
        CameraScreen(
            onPicture = {
                camera = false
                model.diagnose(it)
            },
            onLost = {
                camera = false
                model.fail("camera-lost", it)
            },
        )
    } else {
        AnswerScreen(
            state,
            onCamera = { ask.launch(Manifest.permission.CAMERA) },
            onPick = { pick.launch(PickVisualMediaRequest(ActivityResultContracts.PickVisualMedia.ImageOnly)) },
            onAgain = model::clear,
            onProvider = model::choose,
        )
    }
}
