/// The first thing that the types alone do not rule out, or nil.
func contradiction(_ manifest: Manifest) -> String? {
    let mask = manifest.mask
    let checks: [(Bool, String)] = [
        (isVersion(manifest.version, parts: 3...3), "version '\(manifest.version)' is not three numbers such as 1.0.0"),
        (manifest.minOnnxruntime.map { isVersion($0, parts: 2...3) } ?? true, "min_onnxruntime is no version such as 1.20"),
        (manifest.labels.contains(manifest.melanomaLabel), "melanoma_label is not among the labels"),
        (Set(manifest.labels).count == manifest.labels.count && manifest.labels.count >= 2, "labels must be at least two"),
        (Set(manifest.labelNames.keys) == Set(manifest.labels), "label_names must name exactly the labels"),
        (mask.threshold > 0 && mask.threshold < 1, "mask.threshold is not between 0 and 1"),
        (
            0 <= mask.minAreaFraction && mask.minAreaFraction < mask.maxAreaFraction && mask.maxAreaFraction <= 1,
            "mask area fractions must satisfy 0 <= min < max <= 1"
        ),
        ((0...1).contains(mask.minConfidence), "mask.min_confidence is not between 0 and 1"),
        (manifest.prior.map { $0 > 0 && $0 < 1 } ?? true, "calibration.prior is not between 0 and 1"),
        ((0...4).contains(manifest.roi.margin), "roi.margin is not between 0 and 4"),
        (manifest.classifier.input.height == manifest.classifier.input.width, "classifier.input must be square"),
        (manifest.files[manifest.golden.file] != nil, "golden.file is not listed in files"),
        (manifest.files.keys.allSatisfy(isInside), "files: a path leaves the bundle's folder"),
    ]
    return checks.first { !$0.0 }?.1 ?? points(manifest) ?? refusals(manifest)
        ?? stage("segmenter", manifest.segmenter, manifest) ?? stage("classifier", manifest.classifier, manifest)
}

/// Whether a path of a manifest stays inside the bundle's folder.
func isInside(_ file: String) -> Bool {
    !file.isEmpty && !file.hasPrefix("/") && !file.contains("\\") && !file.contains(":")
        && !file.split(separator: "/", omittingEmptySubsequences: false).contains("..")
}

private func isVersion(_ text: String, parts: ClosedRange<Int>) -> Bool {
    let numbers = text.split(separator: ".", omittingEmptySubsequences: false)
    return parts.contains(numbers.count) && numbers.allSatisfy { !$0.isEmpty && $0.allSatisfy { ("0"..."9").contains($0) } }
}

private func points(_ manifest: Manifest) -> String? {
    let names = manifest.operatingPoints.map(\.name)
    if Set(names).count != names.count { return "two operating points share a name" }
    if !names.contains(manifest.defaultOperatingPoint) { return "default_operating_point is not among the operating points" }
    for point in manifest.operatingPoints {
        if !(point.threshold > 0 && point.threshold < 1) { return "operating point '\(point.name)': threshold \(point.threshold)" }
        for band in point.bands {
            let around = 0 <= band.low && band.low < point.threshold && point.threshold < band.high && band.high <= 1
            if !around || !(band.referred > 0 && band.referred < 1) {
                return "operating point '\(point.name)': a band is not around the threshold"
            }
        }
    }
    return nil
}

private func refusals(_ manifest: Manifest) -> String? {
    if let rule = manifest.dermoscopy {
        if !(rule.clip > 0) { return "dermoscopy.clip is not positive" }
        for (name, term) in rule.terms {
            if !appearanceMeasures.contains(name) { return "dermoscopy.terms.\(name): unknown measure" }
            if !(term.scale > 0) { return "dermoscopy.terms.\(name).scale is not positive" }
        }
    }
    guard let rule = manifest.familiarity else { return nil }
    if manifest.dermoscopy != nil { return "familiarity and dermoscopy: a bundle has one of the two rules" }
    if rule.output.isEmpty || rule.output == manifest.segmenter.output { return "familiarity.output is no second output" }
    if manifest.golden.tolerance.maxFamiliarity == nil { return "golden.max_familiarity is missing" }
    let bounded = manifest.segmenter.variants.values.allSatisfy { $0.tolerance.maxFamiliarity != nil }
    return bounded ? nil : "segmenter.variants: tolerance.max_familiarity is missing"
}

private func stage(_ name: String, _ stage: Stage, _ manifest: Manifest) -> String? {
    let sizes = 8...4096
    if !sizes.contains(stage.input.height) || !sizes.contains(stage.input.width) { return "\(name).input size is not within 8..4096" }
    for file in Array(stage.files.values) + stage.variants.values.map(\.file) {
        let listed = manifest.files.keys.contains { $0 == file || $0.hasPrefix("\(file)/") }
        if !listed { return "\(name): '\(file)' is not listed in files" }
    }
    if stage.variants["float32"] != nil { return "\(name).variants.float32: this name stands for files.onnx" }
    if stage.variants.values.contains(where: { $0.parity.isEmpty }) { return "\(name).variants: no parity gate" }
    return nil
}
