//! RFB's handshake with the browser: version 3.8 without a login, because it has logged in already. It learns the
//! size of the desktop, and neither the target's name nor how the server came in.

use super::pixels;

/// What is said first.
pub const HELLO: &[u8] = b"RFB 003.008\n";

/// The browser does not speak RFB 3.8.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotRfb;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    Version,
    Choice,
    Init,
}

/// The handshake, from after [`HELLO`] on.
#[derive(Debug)]
pub struct Welcome {
    at: At,
    came: Vec<u8>,
    /// The last message: size, pixels, name.
    init: Vec<u8>,
}

impl Welcome {
    pub fn new(width: u16, height: u16, name: &str) -> Self {
        let mut init = Vec::with_capacity(24 + name.len());
        init.extend_from_slice(&width.to_be_bytes());
        init.extend_from_slice(&height.to_be_bytes());
        init.extend_from_slice(&pixels::FORMAT);
        init.extend_from_slice(&u32::try_from(name.len()).unwrap_or_default().to_be_bytes());
        init.extend_from_slice(name.as_bytes());
        Self { at: At::Version, came: Vec::new(), init }
    }

    /// Takes what the browser sent, and adds what it is sent. What is left over when it is done is what came after.
    pub fn take(&mut self, bytes: &[u8], answer: &mut Vec<u8>) -> Result<Option<Vec<u8>>, NotRfb> {
        self.came.extend_from_slice(bytes);
        loop {
            let need = match self.at {
                At::Version => HELLO.len(),
                At::Choice | At::Init => 1,
            };
            if self.came.len() < need {
                return Ok(None);
            }
            let rest = self.came.split_off(need);
            let message = std::mem::replace(&mut self.came, rest);
            match self.at {
                At::Version if message == HELLO => {
                    // One kind of login: none.
                    answer.extend_from_slice(&[1, 1]);
                    self.at = At::Choice;
                }
                At::Choice if message == [1] => {
                    answer.extend_from_slice(&[0; 4]);
                    self.at = At::Init;
                }
                // Whether it would share the desktop is not asked.
                At::Init => {
                    answer.append(&mut self.init);
                    return Ok(Some(std::mem::take(&mut self.came)));
                }
                At::Version | At::Choice => return Err(NotRfb),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_browser_comes_in_without_a_login() {
        for piece in [1, 2, 100] {
            let mut welcome = Welcome::new(640, 480, "lab");
            let mut answer = Vec::new();
            let mut rest = None;
            for bytes in b"RFB 003.008\n\x01\x01\x03".chunks(piece) {
                match &mut rest {
                    None => rest = welcome.take(bytes, &mut answer).unwrap(),
                    Some(rest) => rest.extend_from_slice(bytes),
                }
            }
            assert_eq!(rest, Some(vec![3]));
            assert_eq!(answer[..10], [1, 1, 0, 0, 0, 0, 2, 128, 1, 224]);
            assert_eq!(answer[10..26], pixels::FORMAT);
            assert_eq!(answer[26..], *b"\0\0\0\x03lab");
        }
    }

    #[test]
    fn others_do_not() {
        let mut answer = Vec::new();
        assert_eq!(Welcome::new(1, 1, "").take(b"RFB 003.003\n", &mut answer), Err(NotRfb));
        assert_eq!(Welcome::new(1, 1, "").take(b"RFB 003.008\n\x02", &mut answer), Err(NotRfb));
    }
}
