//! The first line of a state: whose file it is, and of which version.

use super::StateError;

/// The first line up to the number of the version.
pub(super) const MAGIC: &[u8] = b"DHT-Estudely state ";
/// What is written. A minor version may add optional kinds and nothing else; a kind alone, which
/// every reader keeps that does not know it, needs no new number.
pub(super) const FIRST_LINE: &[u8] = b"DHT-Estudely state 2.0\n";
/// The longest first line that is looked at.
const LINE_MAX: usize = 64;

/// A format that can be read, and where it begins behind the first line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    One(usize),
    Two(usize),
}

impl Version {
    /// Reads the first line.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, StateError> {
        let Some(rest) = bytes.strip_prefix(MAGIC) else {
            let begun = MAGIC.starts_with(bytes);
            return Err(if begun { StateError::Truncated } else { StateError::Foreign });
        };
        let front = rest.get(..LINE_MAX).unwrap_or(rest);
        let is_number = |text: &[u8]| !text.is_empty() && text.iter().all(u8::is_ascii_digit);
        let Some(len) = front.iter().position(|byte| *byte == b'\n') else {
            let begun = front.iter().all(|byte| byte.is_ascii_digit() || *byte == b'.');
            let cut = begun && rest.len() < LINE_MAX;
            return Err(if cut { StateError::Truncated } else { StateError::Foreign });
        };
        let line = front.get(..len).unwrap_or_default();
        let begin = MAGIC.len() + len + 1;
        let mut parts = line.splitn(2, |byte| *byte == b'.');
        let (major, minor) = (parts.next().unwrap_or_default(), parts.next());
        if !is_number(major) || !minor.is_none_or(is_number) {
            return Err(StateError::Foreign);
        }
        match (number(major), minor) {
            (1, None) => Ok(Self::One(begin)),
            (2, Some(_)) => Ok(Self::Two(begin)),
            (newer @ 3.., _) => Err(StateError::Newer(newer)),
            _ => Err(StateError::Foreign),
        }
    }
}

/// The value of digits; the highest if there are too many.
fn number(digits: &[u8]) -> u32 {
    let add =
        |value: u32, digit: &u8| value.saturating_mul(10).saturating_add(u32::from(digit - b'0'));
    digits.iter().fold(0, add)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_says_whose_file_it_is_and_of_which_version() {
        let begin = FIRST_LINE.len();
        for (bytes, expected) in [
            (FIRST_LINE, Ok(Version::Two(begin))),
            (b"DHT-Estudely state 2.7\nanything", Ok(Version::Two(begin))),
            (b"DHT-Estudely state 1\nanything", Ok(Version::One(begin - 2))),
            (b"DHT-Estudely state 3\n", Err(StateError::Newer(3))),
            (b"DHT-Estudely state 3.1\nanything", Err(StateError::Newer(3))),
            (b"DHT-Estudely state 99999999999.0\n", Err(StateError::Newer(u32::MAX))),
            (b"DHT-Estudely state 2\n", Err(StateError::Foreign)),
            (b"DHT-Estudely state 1.0\n", Err(StateError::Foreign)),
            (b"DHT-Estudely state 0.5\n", Err(StateError::Foreign)),
            (b"DHT-Estudely state .5\n", Err(StateError::Foreign)),
            (b"DHT-Estudely state 2.\n", Err(StateError::Foreign)),
            (b"DHT-Estudely state 2.x\n", Err(StateError::Foreign)),
            (b"DHT-Estudely state x\n", Err(StateError::Foreign)),
            (b"infohash,name\n", Err(StateError::Foreign)),
            (b"DHT-Est", Err(StateError::Truncated)),
            (b"DHT-Estudely state 2.", Err(StateError::Truncated)),
            (b"", Err(StateError::Truncated)),
        ] as [(&[u8], _); 17]
        {
            assert_eq!(Version::read(bytes), expected, "{}", bytes.escape_ascii());
        }
        let endless = [MAGIC, &[b'2'; 100]].concat();
        assert_eq!(Version::read(&endless), Err(StateError::Foreign));
    }
}
