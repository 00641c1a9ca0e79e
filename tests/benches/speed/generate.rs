//! A stream as a database's dump is: text, compressible to about a half, never the same twice.

use std::io::Write;

/// Writes that many bytes to standard output.
pub fn write(bytes: u64, seed: u64) {
    let mut output = std::io::BufWriter::with_capacity(1 << 20, std::io::stdout().lock());
    write_to(&mut output, bytes, seed);
    output.flush().unwrap();
}

/// Writes that many bytes.
pub fn write_to(output: &mut impl Write, bytes: u64, seed: u64) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut state = seed | 1;
    let mut left = bytes;
    let mut line = [b' '; 64];
    line[63] = b'\n';
    while left > 0 {
        // xorshift64: 63 columns, of which every second word is the same in each line.
        for word in 0..4 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            for place in 0..12 {
                let digit = usize::try_from((state >> (place * 4)) & 15).unwrap();
                line[word * 15 + place] = DIGITS[digit];
            }
        }
        let wanted = usize::try_from(left.min(64)).unwrap();
        output.write_all(&line[..wanted]).unwrap();
        left -= wanted as u64;
    }
}
