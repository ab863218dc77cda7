//! The words of a command, as a POSIX shell would split them.
//!
//! Quotes and backslashes are taken away. What a shell would expand (`*`, `$`, `~`) stays as it is
//! written: only the target knows what becomes of it.

/// More words than this are not looked at.
const WORDS: usize = 4096;

pub(super) fn split(command: &[u8]) -> Vec<Vec<u8>> {
    let mut words: Vec<Vec<u8>> = Vec::new();
    let mut word: Option<Vec<u8>> = None;
    let mut quote = None;
    let mut bytes = command.iter().copied();
    while let Some(byte) = bytes.next() {
        match (quote, byte) {
            (None, b' ' | b'\t' | b'\n' | b'\r') => {
                words.extend(word.take());
                if words.len() >= WORDS {
                    return words;
                }
            }
            (None, b'\'' | b'"') => {
                quote = Some(byte);
                word.get_or_insert_default();
            }
            (Some(open), _) if byte == open => quote = None,
            (None, b'\\') => {
                if let Some(next) = bytes.next() {
                    word.get_or_insert_default().push(next);
                }
            }
            (Some(b'"'), b'\\') => {
                let word = word.get_or_insert_default();
                match bytes.next() {
                    Some(next @ (b'"' | b'\\' | b'$' | b'`')) => word.push(next),
                    Some(next) => word.extend([b'\\', next]),
                    None => word.push(b'\\'),
                }
            }
            (_, byte) => word.get_or_insert_default().push(byte),
        }
    }
    words.extend(word);
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_lose_their_quotes() {
        for (command, expected) in [
            ("scp -t .", &["scp", "-t", "."][..]),
            ("  scp  -f 'a b' ", &["scp", "-f", "a b"]),
            (r#"a\ b "c \"d\" \n" '\' ''"#, &["a b", r#"c "d" \n"#, r"\", ""]),
            ("'open", &["open"]),
            ("", &[]),
        ] {
            let words: Vec<_> = split(command.as_bytes());
            let expected: Vec<Vec<u8>> = expected.iter().map(|word| word.as_bytes().to_vec()).collect();
            assert_eq!(words, expected, "{command}");
        }
    }
}
