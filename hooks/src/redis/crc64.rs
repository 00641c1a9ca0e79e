//! The checksum at the end of an RDB file: CRC-64 with the polynomial of Jones, reflected, without inversion
//! (`crc64.c` of the server).

/// The polynomial, reflected.
const POLYNOMIAL: u64 = 0x95ac_9329_ac4b_c9b5;

/// `TABLES[n][byte]`: what a byte that is followed by `n` zero bytes does to the checksum.
static TABLES: [[u64; 256]; 8] = tables();

const fn tables() -> [[u64; 256]; 8] {
    let mut tables = [[0; 256]; 8];
    let mut byte = 0;
    while byte < 256 {
        let mut value = byte as u64;
        let mut bit = 0;
        while bit < 8 {
            value = if value & 1 == 1 { (value >> 1) ^ POLYNOMIAL } else { value >> 1 };
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
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Crc64(u64);

impl Crc64 {
    /// Takes in bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        let mut crc = self.0;
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            let mixed = (crc ^ u64::from_le_bytes(*word)).to_le_bytes();
            let each = TABLES.iter().rev().zip(mixed).map(|(table, byte)| table[usize::from(byte)]);
            crc = each.fold(0, |crc, part| crc ^ part);
        }
        for byte in rest {
            let [low, ..] = crc.to_le_bytes();
            crc = TABLES[0][usize::from(low ^ byte)] ^ (crc >> 8);
        }
        self.0 = crc;
    }

    /// The checksum of everything that was taken in.
    pub const fn value(self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_servers_own_checksum_however_the_bytes_are_cut() {
        // The check value in the server's own source.
        let mut whole = Crc64::default();
        whole.update(b"123456789");
        assert_eq!(whole.value(), 0xe9c6_d914_c4b8_d9ca);
        let mut parts = Crc64::default();
        for byte in b"123456789" {
            parts.update(&[*byte]);
        }
        assert_eq!(parts, whole);
    }
}
