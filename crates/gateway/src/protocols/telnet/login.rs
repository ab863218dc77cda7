//! Answers a target's login prompts from the credential that is kept.
//!
//! A prompt is a line that is not finished and ends in one of a few words and a colon. The password goes to
//! the target alone: should it be echoed, the echo is taken out, so that it is in no recording.
//!
//! Known to be missed: prompts in other languages than English, and without a colon. The person then
//! types what is asked for.

/// Of the line that is not finished, what a prompt may need.
const LINE: usize = 120;

/// What came of the output so far.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing is asked.
    None,
    /// To be sent.
    Answer(Vec<u8>),
    /// The target asks anew after it got the password.
    Refused,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    User,
    Password,
    Sent,
    Done,
}

/// Holds the password: no `Debug`.
pub(super) struct Login {
    username: String,
    password: String,
    stage: Stage,
    line: Vec<u8>,
    /// Bytes of the password that were echoed so far; `None` when no echo is looked for.
    echoed: Option<usize>,
}

impl Login {
    pub(super) fn new(username: &str, password: &str) -> Self {
        let stage = if username.is_empty() { Stage::Password } else { Stage::User };
        Self {
            username: username.to_owned(),
            password: password.to_owned(),
            stage,
            line: Vec::new(),
            echoed: None,
        }
    }

    /// There is nothing more to answer.
    pub(super) fn is_done(&self) -> bool {
        self.stage == Stage::Done
    }

    /// Gives up: the person answers.
    pub(super) fn stop(&mut self) {
        self.stage = Stage::Done;
    }

    /// Everything that was asked for has been sent.
    pub(super) fn has_answered(&self) -> bool {
        matches!(self.stage, Stage::Sent | Stage::Done)
    }

    /// Takes an echo of the password out of the output.
    pub(super) fn filter(&mut self, output: Vec<u8>) -> Vec<u8> {
        let Some(mut echoed) = self.echoed else { return output };
        let password = self.password.as_bytes();
        let mut at = 0;
        while at < output.len() && echoed < password.len() && output[at] == password[echoed] {
            at += 1;
            echoed += 1;
        }
        if echoed == password.len() {
            // The whole of it: away with it.
            self.echoed = None;
            return output[at..].to_vec();
        }
        if at == output.len() {
            self.echoed = Some(echoed);
            return Vec::new();
        }
        // Something else came: what was held back is output like any other.
        let held = self.echoed.unwrap_or(0);
        self.echoed = None;
        [&password[..held], output.as_slice()].concat()
    }

    /// Reads output, after [`Login::filter`].
    pub(super) fn read(&mut self, output: &[u8]) -> Step {
        for byte in output {
            match byte {
                b'\n' => self.line.clear(),
                0x20..=0x7e if self.line.len() < LINE => self.line.push(*byte),
                _ => {}
            }
        }
        let line = String::from_utf8_lossy(&self.line).to_ascii_lowercase();
        let asks = |words: &[&str]| words.iter().any(|word| line.trim_end().ends_with(word));
        let user = asks(&["login:", "username:", "user name:", "user:"]);
        let password = asks(&["password:", "passwd:", "passcode:"]);
        match self.stage {
            Stage::User if user => {
                self.line.clear();
                self.stage = Stage::Password;
                Step::Answer(format!("{}\r", self.username).into_bytes())
            }
            Stage::User | Stage::Password if password => {
                self.line.clear();
                self.stage = Stage::Sent;
                self.echoed = Some(0);
                Step::Answer(format!("{}\r", self.password).into_bytes())
            }
            Stage::Sent if user || password => {
                self.stage = Stage::Done;
                Step::Refused
            }
            Stage::User | Stage::Password | Stage::Sent | Stage::Done => Step::None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(text: &str) -> Step {
        Step::Answer(text.as_bytes().to_vec())
    }

    #[test]
    fn prompts_are_answered_in_order_and_once() {
        let mut login = Login::new("deploy", "hunter2");
        assert_eq!(login.read(b"Debian GNU/Linux 12\r\n"), Step::None);
        assert_eq!(login.read(b"web log"), Step::None);
        assert_eq!(login.read(b"in: "), answer("deploy\r"));
        assert_eq!(login.read(b"deploy\r\nPassword: "), answer("hunter2\r"));
        assert!(login.has_answered() && !login.is_done());
        assert_eq!(login.read(b"\r\nLast login: never\r\n$ "), Step::None);
    }

    #[test]
    fn a_second_prompt_is_a_refusal() {
        let mut login = Login::new("", "hunter2");
        assert_eq!(login.read(b"Password: "), answer("hunter2\r"));
        assert_eq!(login.read(b"\r\n\r\nLogin incorrect\r\nweb login: "), Step::Refused);
        assert_eq!(login.read(b"\r\nPassword: "), Step::None);
    }

    #[test]
    fn an_echoed_password_is_taken_out() {
        let filter = |pieces: &[&str]| {
            let mut login = Login::new("", "hunter2");
            login.read(b"Password: ");
            let all: Vec<u8> =
                pieces.iter().flat_map(|piece| login.filter(piece.as_bytes().to_vec())).collect();
            String::from_utf8(all).unwrap()
        };
        assert_eq!(filter(&["hunter2\r\n$ "]), "\r\n$ ");
        assert_eq!(filter(&["hun", "ter", "2\r\n"]), "\r\n");
        assert_eq!(filter(&["hu", "h\r\n"]), "huh\r\n");
        assert_eq!(filter(&["\r\nhunter2"]), "\r\nhunter2");
    }
}
