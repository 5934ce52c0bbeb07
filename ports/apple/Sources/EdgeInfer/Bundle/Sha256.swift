import Foundation

#if canImport(CryptoKit)
    import CryptoKit

    /// Lower-case hex.
    func sha256Of(_ data: Data) -> String {
        SHA256.hash(data: data).map { String(format: "%02x", $0) }.joined()
    }
#else
    /// Lower-case hex. Only where there is no CryptoKit (Linux), so that the core can be tested there.
    func sha256Of(_ data: Data) -> String {
        var state: [UInt32] = [
            0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19,
        ]
        var message = [UInt8](data) + [0x80]
        while message.count % 64 != 56 { message.append(0) }
        let bits = UInt64(data.count) * 8
        message += (0..<8).map { UInt8(truncatingIfNeeded: bits >> (56 - 8 * UInt64($0))) }
        for start in stride(from: 0, to: message.count, by: 64) { round(&state, message[start..<start + 64]) }
        return state.map { String(format: "%08x", $0) }.joined()
    }

    private func round(_ state: inout [UInt32], _ block: ArraySlice<UInt8>) {
        func turned(_ x: UInt32, _ n: UInt32) -> UInt32 { x >> n | x << (32 - n) }
        var w = [UInt32](repeating: 0, count: 64)
        for i in 0..<16 {
            let at = block.startIndex + 4 * i
            w[i] = (0..<4).reduce(0) { $0 << 8 | UInt32(block[at + $1]) }
        }
        for i in 16..<64 {
            let a = turned(w[i - 15], 7) ^ turned(w[i - 15], 18) ^ w[i - 15] >> 3
            let b = turned(w[i - 2], 17) ^ turned(w[i - 2], 19) ^ w[i - 2] >> 10
            w[i] = w[i - 16] &+ a &+ w[i - 7] &+ b
        }
        var v = state
        for i in 0..<64 {
            let choice = (v[4] & v[5]) ^ (~v[4] & v[6])
            let first = v[7] &+ (turned(v[4], 6) ^ turned(v[4], 11) ^ turned(v[4], 25)) &+ choice &+ constants[i] &+ w[i]
            let majority = (v[0] & v[1]) ^ (v[0] & v[2]) ^ (v[1] & v[2])
            let second = (turned(v[0], 2) ^ turned(v[0], 13) ^ turned(v[0], 22)) &+ majority
            v = [first &+ second, v[0], v[1], v[2], v[3] &+ first, v[4], v[5], v[6]]
        }
        for i in 0..<8 { state[i] = state[i] &+ v[i] }
    }

    /// The first 32 bits of the fractions of the cube roots of the first 64 primes (FIPS 180-4); a double has enough of them.
    private let constants: [UInt32] = {
        var primes: [UInt32] = []
        var candidate: UInt32 = 2
        while primes.count < 64 {
            if primes.allSatisfy({ candidate % $0 != 0 }) { primes.append(candidate) }
            candidate += 1
        }
        return primes.map { prime in
            let root = pow(Double(prime), 1.0 / 3)
            return UInt32((root - root.rounded(.down)) * 4_294_967_296)
        }
    }()
#endif
