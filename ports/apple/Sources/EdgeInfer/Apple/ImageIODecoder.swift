#if canImport(ImageIO)
    import CoreGraphics
    import Foundation
    import ImageIO

    /// Apple's own decoder: JPEG, PNG, WebP, BMP, TIFF and HEIC. It does not apply EXIF's orientation here; the core does, and takes a
    /// JPEG's colour profile away first.
    ///
    /// Pixels are read from the decoded image's own bytes where they are plain 8-bit RGB or grey. Other layouts (16 bits, palettes)
    /// are drawn into sRGB, which may convert colours.
    public struct ImageIODecoder: Decoder {
        public init() {}

        public func decode(_ data: [UInt8], header: Header, maxPixels: Int) throws -> Picture {
            let options = [kCGImageSourceShouldCache: false] as CFDictionary
            guard let source = CGImageSourceCreateWithData(Data(data) as CFData, options), CGImageSourceGetCount(source) > 0 else {
                throw EdgeInferError(
                    .imageUnsupported, "This device does not decode \(header.format).", "Give a JPEG or PNG picture.")
            }
            if let facts = CGImageSourceCopyPropertiesAtIndex(source, 0, options) as? [CFString: Any],
                let width = facts[kCGImagePropertyPixelWidth] as? Int, let height = facts[kCGImagePropertyPixelHeight] as? Int
            {
                try checkPixels(height: height, width: width, maxPixels: maxPixels)
            }
            guard let image = CGImageSourceCreateImageAtIndex(source, 0, options) else {
                throw EdgeInferError(
                    .imageDecode, "The \(header.format) picture is damaged or cut short.",
                    "Check that it was copied completely, or take another one.")
            }
            if ![.none, .noneSkipFirst, .noneSkipLast].contains(image.alphaInfo) {
                try refuseHidden(try hidden(image), of: image.width * image.height, header: header)
            }
            return try plain(image) ?? drawn(image)
        }

        /// The samples as they are stored, where nothing but their order is to be changed.
        private func plain(_ image: CGImage) -> Picture? {
            let channels = image.bitsPerPixel / 8
            let model = image.colorSpace?.model
            let isLittle = image.bitmapInfo.contains(.byteOrder32Little) || image.bitmapInfo.contains(.byteOrder16Little)
            let first = [.first, .noneSkipFirst, .premultipliedFirst].contains(image.alphaInfo)
            let premultiplied = [.premultipliedFirst, .premultipliedLast].contains(image.alphaInfo)
            guard image.bitsPerComponent == 8, !isLittle, !premultiplied,
                model == .rgb && channels >= 3 || model == .monochrome && channels <= 2,
                let bytes = image.dataProvider?.data as Data?, bytes.count >= image.bytesPerRow * (image.height - 1)
            else { return nil }
            let samples = [UInt8](bytes)
            var pixels: [UInt8] = []
            pixels.reserveCapacity(3 * image.width * image.height)
            for y in 0..<image.height {
                for x in 0..<image.width {
                    let at = y * image.bytesPerRow + x * channels + (first ? 1 : 0)
                    guard at + (model == .rgb ? 2 : 0) < samples.count else { return nil }
                    for c in 0..<3 { pixels.append(samples[at + (model == .rgb ? c : 0)]) }
                }
            }
            return Picture(checked: image.height, image.width, pixels)
        }

        /// How many pixels are wholly transparent: the picture's alpha alone, drawn.
        private func hidden(_ image: CGImage) throws -> Int {
            let (height, width) = (image.height, image.width)
            var alpha = [UInt8](repeating: 0, count: width * height)
            let done = alpha.withUnsafeMutableBytes { memory -> Bool in
                guard
                    let context = CGContext(
                        data: memory.baseAddress, width: width, height: height, bitsPerComponent: 8, bytesPerRow: width,
                        space: nil, bitmapInfo: CGImageAlphaInfo.alphaOnly.rawValue)
                else { return false }
                context.setBlendMode(.copy)
                context.draw(image, in: CGRect(x: 0, y: 0, width: width, height: height))
                return true
            }
            if !done { throw EdgeInferError(.imageTooLarge, "There is no memory for this picture.", "Make it smaller.") }
            return alpha.reduce(0) { $0 + ($1 == 0 ? 1 : 0) }
        }

        private func drawn(_ image: CGImage) throws -> Picture {
            let (height, width) = (image.height, image.width)
            var bytes = [UInt8](repeating: 0, count: 4 * width * height)
            let done = bytes.withUnsafeMutableBytes { memory -> Bool in
                guard
                    let context = CGContext(
                        data: memory.baseAddress, width: width, height: height, bitsPerComponent: 8, bytesPerRow: 4 * width,
                        space: CGColorSpace(name: CGColorSpace.sRGB)!, bitmapInfo: CGImageAlphaInfo.noneSkipLast.rawValue)
                else { return false }
                context.draw(image, in: CGRect(x: 0, y: 0, width: width, height: height))
                return true
            }
            if !done { throw EdgeInferError(.imageTooLarge, "There is no memory for this picture.", "Make it smaller.") }
            let pixels = (0..<3 * width * height).map { bytes[$0 / 3 * 4 + $0 % 3] }
            return Picture(checked: height, width, pixels)
        }
    }
#endif
