import EdgeInfer
import PhotosUI
import SwiftUI

/// A sample for iPhone and iPad: choose a picture, get an answer. Nothing leaves the device.
@main
struct SampleApp: App {
    var body: some Scene {
        WindowGroup { DiagnosisView() }
    }
}

/// Opens the bundle once, away from the screen's thread, and diagnoses one picture at a time.
actor Worker {
    private var diagnoser: Diagnoser?

    func diagnose(_ data: [UInt8]) throws -> Diagnosis {
        if let diagnoser { return try diagnoser.diagnose(data) }
        let made = try open()
        diagnoser = made
        return try made.diagnose(data)
    }

    /// Under memory pressure.
    func release() { diagnoser = nil }

    private func open() throws -> Diagnoser {
        guard let folder = Foundation.Bundle.main.url(forResource: "mobile", withExtension: nil) else {
            throw EdgeInferError(.bundleNotFound, "The app holds no folder 'mobile'.", "Add exported/mobile as a folder reference.")
        }
        let bundle = try ModelBundle(folder: folder) { $0.contains(".mlpackage/") }
        let manifest = bundle.manifest
        func open(_ stage: Stage) throws -> Engine {
            try CoreMLEngine(package: folder.appendingPathComponent(try manifest.file(stage, format: "coreml")))
        }
        return try Diagnoser(
            bundle: bundle, segmenter: try open(manifest.segmenter), classifier: try open(manifest.classifier),
            decoder: ImageIODecoder(), maxPixels: 50_000_000)
    }
}

struct DiagnosisView: View {
    @State private var item: PhotosPickerItem?
    @State private var answer: Diagnosis?
    @State private var failure: String?
    @State private var isWorking = false
    @Environment(\.scenePhase) private var phase
    private let worker = Worker()

    var body: some View {
        VStack(spacing: 20) {
            Text("Lesion check").font(.largeTitle)
            if isWorking { ProgressView("Looking at the picture …") }
            if let failure { Text(failure).foregroundStyle(.red) }
            if let answer { AnswerView(answer: answer) }
            PhotosPicker("Choose a picture", selection: $item, matching: .images)
                .buttonStyle(.borderedProminent).controlSize(.large).disabled(isWorking)
            Text("Not a medical device. For research and teaching.").font(.footnote)
        }
        .padding()
        .onChange(of: item) { chosen in
            if let chosen { Task { await diagnose(chosen) } }
        }
        .onChange(of: phase) { now in
            // The last person's picture does not wait for the next one.
            if now == .background { clear() }
        }
        .onReceive(NotificationCenter.default.publisher(for: UIApplication.didReceiveMemoryWarningNotification)) { _ in
            Task { await worker.release() }
        }
    }

    private func clear() {
        (item, answer, failure) = (nil, nil, nil)
    }

    @MainActor
    private func diagnose(_ chosen: PhotosPickerItem) async {
        (answer, failure, isWorking) = (nil, nil, true)
        do {
            guard let data = try await chosen.loadTransferable(type: Data.self) else {
                throw EdgeInferError(.imageDecode, "The picture cannot be read.", "Choose another one.")
            }
            answer = try await worker.diagnose([UInt8](data))
        } catch let error as EdgeInferError {
            failure = "\(error.problem) \(error.remedy)"
        } catch {
            failure = error.localizedDescription
        }
        isWorking = false
    }
}

struct AnswerView: View {
    let answer: Diagnosis

    var body: some View {
        Text(sentence).font(.title2).accessibilityAddTraits(.isHeader)
        if let probability = answer.melanomaProbability {
            Text("Probability of melanoma \(percent(probability)); threshold \(percent(answer.threshold)) (\(answer.operatingPoint))")
        }
        Text("\(answer.bundle) \(answer.bundleVersion), \(answer.provider)").font(.footnote)
    }

    private func percent(_ share: Double) -> String { share.formatted(.percent.precision(.fractionLength(1))) }

    private var sentence: String {
        guard let reason = answer.reason else {
            return answer.isMelanoma == true ? "Melanoma is possible: have it examined." : "Below the threshold for melanoma."
        }
        switch reason {
        case .noLesion: return "No lesion was found. Put it in the middle."
        case .lesionUncertain: return "The outline is uncertain. Take another picture."
        case .lesionTooSmall: return "The lesion is too small in the picture. Go closer."
        case .lesionFillsFrame: return "The lesion fills the picture. Go further away."
        case .pictureTooSmall: return "The picture has too few pixels."
        case .blank, .uniform: return "Nothing can be seen in the picture."
        case .tooDark: return "The picture is too dark. Use more light."
        case .overexposed: return "The picture is overexposed. Use less light."
        case .blurred: return "The picture is blurred. Hold still and focus."
        case .notDermoscopy: return "This does not look like dermoscopy. Use a dermatoscope."
        case .uncertain: return "Too close to the threshold to decide."
        }
    }
}
