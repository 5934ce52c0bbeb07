package io.github.edgeinfer.sample

import androidx.camera.core.CameraSelector
import androidx.camera.core.ImageCapture
import androidx.camera.core.ImageCaptureException
import androidx.camera.core.ImageProxy
import androidx.camera.view.CameraController
import androidx.camera.view.LifecycleCameraController
import androidx.camera.view.PreviewView
import androidx.compose.foundation.border
import androidx.compose.foundation.layout.Box
import androidx.compose.foundation.layout.fillMaxSize
import androidx.compose.foundation.layout.fillMaxWidth
import androidx.compose.foundation.layout.aspectRatio
import androidx.compose.foundation.layout.padding
import androidx.compose.foundation.shape.RoundedCornerShape
import androidx.compose.material3.Button
import androidx.compose.material3.Text
import androidx.compose.runtime.Composable
import androidx.compose.runtime.DisposableEffect
import androidx.compose.runtime.remember
import androidx.compose.ui.Alignment
import androidx.compose.ui.Modifier
import androidx.compose.ui.graphics.Color
import androidx.compose.ui.platform.LocalContext
import androidx.lifecycle.compose.LocalLifecycleOwner
import androidx.compose.ui.res.stringResource
import androidx.compose.ui.unit.dp
import androidx.compose.ui.viewinterop.AndroidView
import androidx.core.content.ContextCompat

/** Live picture with a frame to put the lesion in; gives an encoded JPEG. */
@Composable
fun CameraScreen(onPicture: (ByteArray) -> Unit, onLost: (String) -> Unit) {
    val context = LocalContext.current
    val owner = LocalLifecycleOwner.current
    val controller = remember {
        LifecycleCameraController(context).apply {
            setEnabledUseCases(CameraController.IMAGE_CAPTURE)
            cameraSelector = CameraSelector.DEFAULT_BACK_CAMERA
        }
    }
    DisposableEffect(owner) {
        controller.bindToLifecycle(owner)
        onDispose { controller.unbind() }
    }
    Box(Modifier.fillMaxSize()) {
        AndroidView({ PreviewView(it).apply { this.controller = controller } }, Modifier.fillMaxSize())
        Box(
            Modifier
                .align(Alignment.Center)
                .fillMaxWidth(0.7f)
                .aspectRatio(1f)
                .border(3.dp, Color.White, RoundedCornerShape(16.dp)),
        )
        Button(
            onClick = { take(controller, ContextCompat.getMainExecutor(context), onPicture, onLost) },
            modifier = Modifier.align(Alignment.BottomCenter).padding(32.dp),
        ) { Text(stringResource(R.string.take)) }
    }
}

private fun take(
    controller: LifecycleCameraController,
    executor: java.util.concurrent.Executor,
    onPicture: (ByteArray) -> Unit,
    onLost: (String) -> Unit,
) = controller.takePicture(
    executor,
    object : ImageCapture.OnImageCapturedCallback() {
        override fun onCaptureSuccess(image: ImageProxy) {
            // A JPEG comes with its EXIF orientation, which the core applies.
            val data = image.use { proxy ->
                val buffer = proxy.planes[0].buffer
                ByteArray(buffer.remaining()).also { buffer.get(it) }
            }
            onPicture(data)
        }

        override fun onError(exception: ImageCaptureException) = onLost("The camera failed: ${exception.message}.")
    },
)
