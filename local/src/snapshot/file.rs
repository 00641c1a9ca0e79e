//! The copy of one file: shared blocks where possible, else its data without its holes.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use rustix::{
    fs::{OFlags, copy_file_range, ioctl_ficlone, seek},
    io::Errno,
};
use tokio_util::sync::CancellationToken;

/// How much is copied between two looks at the cancellation.
const STEP: u64 = 16 * 1024 * 1024;

/// How often a file that is still settling is copied again.
const ATTEMPTS: u32 = 5;

/// Copies a file into a new one.
///
/// A file whose size changed meanwhile is copied again when `tolerate_changes` is not set: under a hold that makes
/// writes wait, what the last write set going may still end (SQLite's checkpoint after a commit adds pages to the
/// database that the write-ahead log holds too). One that goes on changing is an error.
pub(super) fn copy_file(
    source: &Path,
    target: &Path,
    tolerate_changes: bool,
    cancel: &CancellationToken,
) -> io::Result<()> {
    let no_follow = i32::try_from(OFlags::NOFOLLOW.bits()).unwrap_or(0);
    let from = OpenOptions::new().read(true).custom_flags(no_follow).open(source)?;
    let to = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(target)?;
    if ioctl_ficlone(&to, &from).is_ok() {
        return Ok(());
    }
    let mut attempt = 1;
    loop {
        let before = from.metadata()?.len();
        to.set_len(0)?;
        copy_data(&from, &to, before, cancel)?;
        let after = from.metadata()?.len();
        if after == before || tolerate_changes {
            // The hole at the end, if there is one.
            return to.set_len(before.min(after));
        }
        if attempt == ATTEMPTS {
            return Err(io::Error::other(format!(
                "its size changed from {before} to {after} bytes while it was being copied"
            )));
        }
        attempt += 1;
    }
}

/// Copies the data of a file's first `size` bytes and leaves its holes out.
fn copy_data(from: &File, to: &File, size: u64, cancel: &CancellationToken) -> io::Result<()> {
    let mut position = 0;
    while position < size {
        let data = match seek(from, rustix::fs::SeekFrom::Data(position)) {
            Ok(data) => data,
            // There is only a hole left.
            Err(Errno::NXIO) => return Ok(()),
            // The file system knows no holes.
            Err(Errno::INVAL) => position,
            Err(cause) => return Err(cause.into()),
        };
        let end = seek(from, rustix::fs::SeekFrom::Hole(data)).unwrap_or(size).min(size);
        if copy_range(from, to, data, end, cancel)? < end {
            // It was cut off meanwhile.
            return Ok(());
        }
        position = end.max(data + 1);
    }
    Ok(())
}

/// Copies the bytes from `start` to `end`; up to where there were any.
fn copy_range(from: &File, to: &File, start: u64, end: u64, cancel: &CancellationToken) -> io::Result<u64> {
    let (mut read, mut written) = (start, start);
    while read < end {
        if cancel.is_cancelled() {
            return Err(io::Error::from(io::ErrorKind::Interrupted));
        }
        let length = usize::try_from((end - read).min(STEP)).unwrap_or(usize::MAX);
        match copy_file_range(from, Some(&mut read), to, Some(&mut written), length) {
            Ok(0) => return Ok(read),
            Ok(_) | Err(Errno::INTR) => {}
            Err(Errno::XDEV | Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
                read += copy_plainly(from, to, read, length as u64)?;
                if read == written {
                    return Ok(read);
                }
                written = read;
            }
            Err(cause) => return Err(cause.into()),
        }
    }
    Ok(read)
}

/// Copies by reading and writing, where the kernel cannot copy between the two files.
fn copy_plainly(mut from: &File, mut to: &File, position: u64, length: u64) -> io::Result<u64> {
    from.seek(SeekFrom::Start(position))?;
    to.seek(SeekFrom::Start(position))?;
    let copied = io::copy(&mut from.take(length), &mut to)?;
    to.flush()?;
    Ok(copied)
}
