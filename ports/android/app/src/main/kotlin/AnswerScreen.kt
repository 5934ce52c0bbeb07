package io.github.edgeinfer.sample

import android.graphics.Bitmap
import androidx.compose.foundation.Image
import androidx.compose.foundation.layout.Arrangement
import androidx.compose.foundation.layout.Column
import androidx.compose.foundation.layout.FlowRow
import androidx.compose.foundation.layout.fillMaxSize
import androidx.compose.foundation.layout.fillMaxWidth
import androidx.compose.foundation.layout.heightIn
import androidx.compose.foundation.layout.padding
import androidx.compose.foundation.rememberScrollState
import androidx.compose.foundation.verticalScroll
import androidx.compose.material3.Button
import androidx.compose.material3.CircularProgressIndicator
import androidx.compose.material3.MaterialTheme
import androidx.compose.material3.OutlinedButton
import androidx.compose.material3.Text
import androidx.compose.runtime.Composable
import androidx.compose.runtime.remember
import androidx.compose.ui.Modifier
import androidx.compose.ui.graphics.asImageBitmap
import androidx.compose.ui.res.stringResource
import androidx.compose.ui.unit.dp
import io.github.edgeinfer.Diagnosis
import io.github.edgeinfer.Picture
import io.github.edgeinfer.Reason

/** What was found, or why nothing was, and what to do next. */
@Composable
fun AnswerScreen(
    state: State,
    onCamera: () -> Unit,
    onPick: () -> Unit,
    onAgain: () -> Unit,
    onProvider: (Provider) -> Unit,
) {
    Column(
        Modifier.fillMaxSize().verticalScroll(rememberScrollState()).padding(24.dp),
        verticalArrangement = Arrangement.spacedBy(16.dp),
    ) {
        Text(stringResource(R.string.app_name), style = MaterialTheme.typography.headlineMedium)
        when (state) {
            State.Loading -> Waiting(R.string.loading)
            State.Working -> Waiting(R.string.working)
            State.Ready -> Unit
            is State.Failed -> Text("${state.message} (${state.code})", color = MaterialTheme.colorScheme.error)
            is State.Answer -> Answer(state.diagnosis)
        }
        val free = state !is State.Loading && state !is State.Working && (state as? State.Failed)?.fatal != true
        Button(onCamera, Modifier.fillMaxWidth().heightIn(min = 56.dp), enabled = free) { Text(stringResource(R.string.camera)) }
        OutlinedButton(onPick, Modifier.fillMaxWidth().heightIn(min = 56.dp), enabled = free) { Text(stringResource(R.string.pick)) }
        if (state is State.Answer) OutlinedButton(onAgain, Modifier.fillMaxWidth()) { Text(stringResource(R.string.again)) }
        FlowRow(horizontalArrangement = Arrangement.spacedBy(8.dp)) {
            Provider.entries.forEach { OutlinedButton({ onProvider(it) }) { Text(it.name) } }
        }
        Text(stringResource(R.string.not_a_device), style = MaterialTheme.typography.bodySmall)
    }
}

@Composable
private fun Waiting(text: Int) {
    CircularProgressIndicator()
    Text(stringResource(text))
}

@Composable
private fun Answer(diagnosis: Diagnosis) {
    val reason = diagnosis.reason
    val line = when {
        reason != null -> stringResource(sentence(reason))
        diagnosis.isMelanoma == true -> stringResource(R.string.melanoma)
        else -> stringResource(R.string.not_melanoma)
    }
    Text(line, style = MaterialTheme.typography.titleLarge)
    diagnosis.melanomaProbability?.let {
        Text(stringResource(R.string.probability, it * 100, diagnosis.threshold * 100, diagnosis.operatingPoint))
    }
    diagnosis.roi?.let { crop ->
        val bitmap = remember(crop) { bitmap(crop).asImageBitmap() }
        Image(bitmap, stringResource(R.string.crop), Modifier.fillMaxWidth())
    }
    Text("${diagnosis.bundle} ${diagnosis.bundleVersion}, ${diagnosis.provider}", style = MaterialTheme.typography.bodySmall)
}

private fun sentence(reason: Reason): Int = when (reason) {
    Reason.NO_LESION -> R.string.no_lesion
    Reason.LESION_UNCERTAIN -> R.string.lesion_uncertain
    Reason.LESION_TOO_SMALL -> R.string.lesion_too_small
    Reason.LESION_FILLS_FRAME -> R.string.lesion_fills_frame
    Reason.PICTURE_TOO_SMALL -> R.string.picture_too_small
    Reason.BLANK, Reason.UNIFORM -> R.string.uniform
    Reason.TOO_DARK -> R.string.too_dark
    Reason.OVEREXPOSED -> R.string.overexposed
    Reason.BLURRED -> R.string.blurred
    Reason.NOT_DERMOSCOPY -> R.string.not_dermoscopy
    Reason.UNCERTAIN -> R.string.uncertain
}

private fun bitmap(picture: Picture): Bitmap {
    val pixels = IntArray(picture.width * picture.height) {
        fun channel(c: Int) = picture.pixels[3 * it + c].toInt() and 255
        (255 shl 24) or (channel(0) shl 16) or (channel(1) shl 8) or channel(2)
    }
    return Bitmap.createBitmap(pixels, picture.width, picture.height, Bitmap.Config.ARGB_8888)
}
