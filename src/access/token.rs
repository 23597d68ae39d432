//! Access tokens as text: how a new one is made, and how one that is mistyped is told from one that is merely not known.

use rand::TryRng;
use rand::rngs::SysRng;
use zeroize::Zeroizing;

use crate::secret::Secret;

/// What every token of hermux's own begins with.
const PREFIX: &str = "hmx_";

/// How many random letters and digits follow: 62^43 > 2^256.
const RANDOM: usize = 43;

/// How many more hold the checksum: 62^6 > 2^32.
const CHECK: usize = 6;

const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// A new access token: `hmx_`, 43 letters and digits, which are 256 bits from the system's generator, and 6 more that are
/// the checksum (CRC-32) of what stands before them.
///
/// # Panics
///
/// When the system has no random numbers to give: nothing safe can be made then.
#[must_use]
pub fn generate() -> Secret {
    let mut token = String::with_capacity(PREFIX.len() + RANDOM + CHECK);
    token.push_str(PREFIX);
    let mut bytes = Zeroizing::new([0; 64]);
    while token.len() < PREFIX.len() + RANDOM {
        SysRng.try_fill_bytes(&mut *bytes).expect("the system gives random numbers");
        // 248 is the largest multiple of 62 in a byte: what lies above would favour the first digits.
        let digits =
            bytes.iter().filter(|&&byte| byte < 248).map(|&byte| char::from(DIGITS[usize::from(byte % 62)]));
        token.extend(digits.take(PREFIX.len() + RANDOM - token.len()));
    }
    let check = checksum(token.as_bytes());
    token.extend(check.map(char::from));
    Secret::new(token)
}

/// Whether a token was meant to be one that hermux made, and is none: a letter is wrong, lacking or too many.
///
/// Tokens of the old form have no checksum, so that a typo in one of them can't be told.
#[must_use]
pub fn looks_mistyped(token: &[u8]) -> bool {
    let Some(rest) = token.strip_prefix(PREFIX.as_bytes()) else { return false };
    if !rest.iter().all(u8::is_ascii_alphanumeric) {
        return true;
    }
    match rest.len() {
        RANDOM => false,
        length if length == RANDOM + CHECK => {
            let (checked, check) = token.split_at(PREFIX.len() + RANDOM);
            check != checksum(checked)
        }
        _ => true,
    }
}

/// The CRC-32 of `text` (that of zip and Ethernet) in base 62, the highest digit first.
fn checksum(text: &[u8]) -> [u8; CHECK] {
    let mut crc = u32::MAX;
    for byte in text {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0xEDB8_8320 & (crc & 1).wrapping_neg());
        }
    }
    let mut rest = !crc;
    let mut digits = [0; CHECK];
    for digit in digits.iter_mut().rev() {
        *digit = DIGITS[(rest % 62) as usize];
        rest /= 62;
    }
    digits
}

#[cfg(test)]
mod tests {
    use super::{CHECK, PREFIX, RANDOM, checksum, generate, looks_mistyped};

    #[test]
    fn the_checksum_is_the_crc_that_others_know() {
        // The check value of CRC-32 is that of "123456789": 0xCBF43926 = 3421780262.
        let digits = checksum(b"123456789");
        let value = digits.iter().fold(0_u64, |value, digit| {
            62 * value + super::DIGITS.iter().position(|known| known == digit).unwrap() as u64
        });
        assert_eq!(value, 0xCBF4_3926);
    }

    #[test]
    fn each_slip_in_a_new_token_is_seen() {
        let token = generate();
        let token = token.expose();
        assert_eq!(token.len(), PREFIX.len() + RANDOM + CHECK);
        assert!(!looks_mistyped(token.as_bytes()));
        for at in PREFIX.len()..token.len() {
            let mut wrong = token.as_bytes().to_vec();
            wrong[at] = if wrong[at] == b'x' { b'y' } else { b'x' };
            assert!(looks_mistyped(&wrong), "another letter at {at}");
            let mut swapped = token.as_bytes().to_vec();
            if at + 1 < swapped.len() && swapped[at] != swapped[at + 1] {
                swapped.swap(at, at + 1);
                assert!(looks_mistyped(&swapped), "swapped letters at {at}");
            }
            let short = [&token[..at], &token[at + 1..]].concat();
            assert!(looks_mistyped(short.as_bytes()), "without the letter at {at}");
        }
        assert!(looks_mistyped(format!("{token}x").as_bytes()));
        assert!(looks_mistyped(format!("{token},").as_bytes()));
    }

    #[test]
    fn what_has_no_checksum_is_not_suspected() {
        for token in ["", "abc", "sk-or-v1-x", &format!("hmx_{}", "a".repeat(RANDOM))] {
            assert!(!looks_mistyped(token.as_bytes()), "{token}");
        }
    }
}
