//! What HTTP/1.1 looks like on the wire (RFC 9112), whoever speaks: heads, the framing of bodies, and how both are read.

mod decode;
mod fields;
mod intake;
mod spare;

pub(crate) use self::decode::{Decoder, Framing, gather};
pub(crate) use self::fields::Fields;
pub(crate) use self::intake::{Intake, alone};
pub(crate) use self::spare::Spare;

/// Header fields of a head, and of trailers. More are refused.
pub(crate) const MAX_HEADERS: usize = 100;

/// Writes one header field.
pub(crate) fn write_field(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    debug_assert!(!value.iter().any(|b| matches!(b, b'\r' | b'\n' | 0)), "a value is one line");
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}
