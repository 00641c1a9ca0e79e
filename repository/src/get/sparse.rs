//! Writing a file with holes where it is zero.

use std::{
    fs::File,
    io::{self, Write},
    os::unix::fs::FileExt,
};

/// The unit of holes. Smaller ones would tear up files that merely have empty pages.
const BLOCK: usize = 64 * 1024;

/// Writes sequentially; blocks of zeros are left out. [`SparseFile::finish`] sets the length.
pub(crate) struct SparseFile<'a> {
    file: &'a File,
    block: Vec<u8>,
    /// Where the current block starts.
    offset: u64,
}

impl<'a> SparseFile<'a> {
    pub(crate) fn new(file: &'a File) -> Self {
        Self { file, block: Vec::with_capacity(BLOCK), offset: 0 }
    }

    /// Writes what is left and sets the length; returns it.
    pub(crate) fn finish(mut self) -> io::Result<u64> {
        self.write_block()?;
        self.file.set_len(self.offset)?;
        Ok(self.offset)
    }

    fn write_block(&mut self) -> io::Result<()> {
        if self.block.iter().any(|byte| *byte != 0) {
            self.file.write_all_at(&self.block, self.offset)?;
        }
        self.offset += self.block.len() as u64;
        self.block.clear();
        Ok(())
    }
}

impl Write for SparseFile<'_> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let taken = buffer.len().min(BLOCK - self.block.len());
        self.block.extend_from_slice(&buffer[..taken]);
        if self.block.len() == BLOCK {
            self.write_block()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_is_kept_around_holes_and_at_the_end() {
        let file = tempfile::tempfile().unwrap();
        let mut content = vec![0; 5 * BLOCK + 7];
        content[BLOCK + 3] = 1;
        content[3 * BLOCK] = 2;
        let mut sparse = SparseFile::new(&file);
        for piece in content.chunks(10_007) {
            sparse.write_all(piece).unwrap();
        }
        assert_eq!(sparse.finish().unwrap(), content.len() as u64);
        let mut read = vec![0; content.len()];
        file.read_exact_at(&mut read, 0).unwrap();
        assert_eq!(read, content);
        assert_eq!(file.metadata().unwrap().len(), content.len() as u64);
    }
}
