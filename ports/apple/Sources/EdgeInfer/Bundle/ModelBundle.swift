import Foundation

/// A bundle in a folder, whose manifest was read and whose files match their hashes.
public final class ModelBundle {
    public let manifest: Manifest
    /// Hash of `bundle.json`; as that lists every file's hash, it identifies the whole bundle.
    public let sha256: String
    public let folder: URL

    /// Reads a bundle's manifest and checks the hash of files before anything is used.
    ///
    /// - Parameters:
    ///   - folder: with `bundle.json`.
    ///   - isUsed: which of its files to check, by path; an app that ships without ONNX files leaves them out.
    /// - Throws: `EdgeInferError`.
    public init(folder: URL, checking isUsed: (String) -> Bool = { _ in true }) throws {
        let raw: Data
        do {
            raw = try Data(contentsOf: folder.appendingPathComponent("bundle.json"))
        } catch {
            throw EdgeInferError(
                .bundleNotFound, "There is no bundle.json: \(error.localizedDescription)", "Check where the bundle lies.")
        }
        guard let text = String(data: raw, encoding: .utf8) else {
            throw EdgeInferError(.bundleSchema, "bundle.json is not UTF-8 text.", "Restore the bundle from its source.")
        }
        manifest = try parseManifest(text)
        sha256 = sha256Of(raw)
        self.folder = folder
        for file in manifest.files.keys.sorted() where isUsed(file) { _ = try read(file) }
    }

    /// A file's bytes, checked against the manifest as they are read.
    public func read(_ file: String) throws -> Data {
        let data: Data
        guard let entry = manifest.files[file] else {
            throw EdgeInferError(.bundleFileMissing, "bundle.json does not list '\(file)'.", "Copy the whole bundle again.")
        }
        do {
            data = try Data(contentsOf: folder.appendingPathComponent(file))
        } catch {
            throw EdgeInferError(
                .bundleFileMissing, "'\(file)' cannot be read: \(error.localizedDescription)", "Copy the whole bundle again.")
        }
        let digest = sha256Of(data)
        if digest != entry.sha256 {
            throw EdgeInferError(
                .bundleTampered, "'\(file)' has SHA-256 \(digest.prefix(12))…, the manifest says \(entry.sha256.prefix(12))….",
                "The file was changed or damaged; restore the bundle from its source.")
        }
        return data
    }
}
