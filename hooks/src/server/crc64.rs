//! CRC-64, reflected, as several formats have it.

/// That at the end of an RDB file: the polynomial of Jones, without inversion (`crc64.c` of Redis).
pub(crate) type Jones = Crc64<0x95ac_9329_ac4b_c9b5, false>;
/// That of each collection in an archive of MongoDB's tools: ECMA-182, inverted (`hash/crc64` of Go).
pub(crate) type Ecma = Crc64<0xc96c_5795_d787_0f42, true>;

/// `[n][byte]`: what a byte that is followed by `n` zero bytes does to the checksum.
const fn tables(polynomial: u64) -> [[u64; 256]; 8] {
    let mut tables = [[0; 256]; 8];
    let mut byte = 0;
    while byte < 256 {
        let mut value = byte as u64;
        let mut bit = 0;
        while bit < 8 {
            value = if value & 1 == 1 { (value >> 1) ^ polynomial } else { value >> 1 };
            bit += 1;
        }
        tables[0][byte] = value;
        byte += 1;
    }
    let mut table = 1;
    while table < 8 {
        let mut byte = 0;
        while byte < 256 {
            let before = tables[table - 1][byte];
            tables[table][byte] = (before >> 8) ^ tables[0][(before & 0xff) as usize];
            byte += 1;
        }
        table += 1;
    }
    tables
}

/// A checksum in the making.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Crc64<const POLYNOMIAL: u64, const INVERTED: bool>(u64);

impl<const POLYNOMIAL: u64, const INVERTED: bool> Default for Crc64<POLYNOMIAL, INVERTED> {
    fn default() -> Self {
        Self(if INVERTED { u64::MAX } else { 0 })
    }
}

impl<const POLYNOMIAL: u64, const INVERTED: bool> Crc64<POLYNOMIAL, INVERTED> {
    const TABLES: &[[u64; 256]; 8] = &tables(POLYNOMIAL);

    /// Takes in bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        let mut crc = self.0;
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            let mixed = (crc ^ u64::from_le_bytes(*word)).to_le_bytes();
            let each = Self::TABLES.iter().rev().zip(mixed).map(|(table, byte)| table[usize::from(byte)]);
            crc = each.fold(0, |crc, part| crc ^ part);
        }
        for byte in rest {
            let [low, ..] = crc.to_le_bytes();
            crc = Self::TABLES[0][usize::from(low ^ byte)] ^ (crc >> 8);
        }
        self.0 = crc;
    }

    /// The checksum of everything that was taken in.
    pub const fn value(self) -> u64 {
        if INVERTED { !self.0 } else { self.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The check values in the sources of Redis and of Go.
    #[test]
    fn it_is_what_the_formats_have_however_the_bytes_are_cut() {
        let (mut jones, mut ecma) = (Jones::default(), Ecma::default());
        jones.update(b"123456789");
        ecma.update(b"123456789");
        assert_eq!((jones.value(), ecma.value()), (0xe9c6_d914_c4b8_d9ca, 0x995d_c9bb_df19_39fa));
        let (mut jones_parts, mut ecma_parts) = (Jones::default(), Ecma::default());
        for byte in b"123456789" {
            jones_parts.update(&[*byte]);
            ecma_parts.update(&[*byte]);
        }
        assert_eq!((jones_parts, ecma_parts), (jones, ecma));
    }
}
