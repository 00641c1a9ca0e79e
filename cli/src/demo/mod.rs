//! `standstill demo`.

use standstill_core::{Error, Result};

use crate::arguments::{Demo, Global};

/// Tells the whole story on this machine.
pub async fn demo(_global: &Global, _arguments: Demo) -> Result<u8> {
    Err(Error::failed("the demo is not built yet"))
}
