//! The few words of protocol buffers that etcd's messages need: numbers and byte strings, each with its field's number.
//!
//! The messages are those of `rpc.proto` of etcd 3.4 to 3.6. Writing them by hand spares a compiler for them at build
//! time; unknown fields are passed over, as the format demands.

use standstill_core::{Error, Result};

/// A message that is being written.
#[derive(Debug, Default)]
pub(super) struct Message(Vec<u8>);

impl Message {
    /// Adds a number. Zero is what a field without a value means, so it is not written.
    #[must_use]
    pub fn number(mut self, field: u32, value: u64) -> Self {
        if value != 0 {
            self.key(field, 0);
            self.varint(value);
        }
        self
    }

    /// Adds bytes or text; none are not written.
    #[must_use]
    pub fn bytes(mut self, field: u32, value: &[u8]) -> Self {
        if !value.is_empty() {
            self.key(field, 2);
            self.varint(value.len() as u64);
            self.0.extend_from_slice(value);
        }
        self
    }

    /// The message as it goes over the wire.
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    fn key(&mut self, field: u32, wire: u64) {
        self.varint(u64::from(field) << 3 | wire);
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value.to_le_bytes()[0] | 0x80);
            value >>= 7;
        }
        self.0.push(value.to_le_bytes()[0]);
    }
}

/// A field's value as it was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Value<'a> {
    /// A whole number; a signed one as its two's complement.
    Number(u64),
    /// Bytes, text or a message.
    Bytes(&'a [u8]),
}

/// A message that was received. It may be hostile: nothing in it is trusted.
#[derive(Debug, Clone)]
pub(super) struct Fields<'a>(Vec<(u32, Value<'a>)>);

impl<'a> Fields<'a> {
    /// Reads a message.
    ///
    /// # Errors
    /// When it is none.
    pub fn read(mut message: &'a [u8]) -> Result<Self> {
        let mut fields = Vec::new();
        while !message.is_empty() {
            let key = varint(&mut message)?;
            let field = u32::try_from(key >> 3).map_err(|_| strange())?;
            match key & 7 {
                0 => fields.push((field, Value::Number(varint(&mut message)?))),
                1 => drop(take(&mut message, 8)?),
                2 => {
                    let length = usize::try_from(varint(&mut message)?).map_err(|_| strange())?;
                    fields.push((field, Value::Bytes(take(&mut message, length)?)));
                }
                5 => drop(take(&mut message, 4)?),
                _ => return Err(strange()),
            }
        }
        Ok(Self(fields))
    }

    /// A number; 0 where it was not sent. The last one counts, as the format demands.
    pub fn number(&self, field: u32) -> u64 {
        let sent = |(number, value): &(u32, Value<'a>)| match value {
            Value::Number(value) if *number == field => Some(*value),
            _ => None,
        };
        self.0.iter().rev().find_map(sent).unwrap_or_default()
    }

    /// A signed number.
    pub fn signed(&self, field: u32) -> i64 {
        self.number(field).cast_signed()
    }

    /// Bytes; none where they were not sent.
    pub fn bytes(&self, field: u32) -> &'a [u8] {
        self.all(field).last().unwrap_or_default()
    }

    /// Text, with what is no text replaced.
    pub fn text(&self, field: u32) -> String {
        String::from_utf8_lossy(self.bytes(field)).into_owned()
    }

    /// A message within the message; an empty one where it was not sent.
    ///
    /// # Errors
    /// When it is none.
    pub fn message(&self, field: u32) -> Result<Self> {
        Self::read(self.bytes(field))
    }

    /// All values of a repeated field of bytes, text or messages.
    pub fn all(&self, field: u32) -> impl Iterator<Item = &'a [u8]> {
        self.0.iter().filter_map(move |(number, value)| match value {
            Value::Bytes(bytes) if *number == field => Some(*bytes),
            _ => None,
        })
    }
}

fn varint(message: &mut &[u8]) -> Result<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = message.split_first().ok_or_else(strange)?;
        *message = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(strange())
}

fn take<'a>(message: &mut &'a [u8], length: usize) -> Result<&'a [u8]> {
    let (taken, rest) = message.split_at_checked(length).ok_or_else(strange)?;
    *message = rest;
    Ok(taken)
}

fn strange() -> Error {
    Error::failed("the server's answer is no message of etcd's")
        .remedy("Check that `host` and `port` of the connection are those of etcd's clients.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let written = Message::default()
            .number(1, 0)
            .number(2, 300)
            .bytes(3, b"text")
            .number(4, (-7_i64).cast_unsigned())
            .bytes(5, b"")
            .bytes(3, b"again")
            .into_bytes();
        let read = Fields::read(&written).unwrap();
        assert_eq!((read.number(1), read.number(2), read.signed(4)), (0, 300, -7));
        assert_eq!(read.all(3).collect::<Vec<_>>(), [b"text".as_slice(), b"again"]);
        assert_eq!((read.text(3).as_str(), read.bytes(5)), ("again", b"".as_slice()));
    }

    #[test]
    fn a_message_that_is_cut_or_too_long_is_refused_and_never_overrun() {
        let whole = Message::default().bytes(1, b"0123456789").number(2, u64::MAX).into_bytes();
        for length in 1..whole.len() {
            // A cut between two fields is a shorter message; any other is none.
            assert_eq!(Fields::read(&whole[..length]).is_ok(), length == 12, "{length}");
        }
        assert!(Fields::read(&[0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]).is_err());
        assert!(Fields::read(&[0x08; 1]).is_err());
        assert!(Fields::read(&[0x0b]).is_err());
    }

    #[test]
    fn fields_that_nobody_asks_for_are_passed_over() {
        let mut message = vec![0x09, 1, 2, 3, 4, 5, 6, 7, 8, 0x15, 1, 2, 3, 4];
        message.extend(Message::default().number(7, 9).into_bytes());
        assert_eq!(Fields::read(&message).unwrap().number(7), 9);
    }
}
