//! Prompts: which of them are a shell's.

use std::collections::VecDeque;

use super::shell::Starts;

/// Remembered prompts of shells; the oldest gives way.
const MAX_KNOWN: usize = 32;

/// What a line was typed at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asks {
    Shell,
    /// A shell, with a prompt that was not seen before.
    NewShell,
    Repl,
    /// A program that reads, with or without a word of its own.
    Program,
}

/// The prompts of the shells of one terminal, as they looked left of the cursor.
#[derive(Debug, Default)]
pub(super) struct Prompts {
    known: VecDeque<String>,
}

impl Prompts {
    /// Whether this may be a known prompt with another folder in it.
    pub(super) fn resembles_any(&self, left: &str) -> bool {
        self.known().any(|known| resembles(left, known))
    }

    /// Latest first.
    pub(super) fn known(&self) -> impl Iterator<Item = &str> {
        self.known.iter().map(String::as_str)
    }

    pub(super) fn learn(&mut self, prompt: &str) {
        if prompt.trim().is_empty() || prompt.len() > 1024 {
            return;
        }
        self.known.retain(|known| known != prompt);
        self.known.push_front(prompt.to_owned());
        self.known.truncate(MAX_KNOWN);
    }

    /// The known prompt that `left` is, or that it ends with after output without a last newline.
    pub(super) fn exact(&self, left: &str) -> Option<&str> {
        // Of a short one it is not told from the end of another program's.
        let long = |known: &str| known.chars().filter(|ch| !ch.is_whitespace()).count() >= 2;
        let known = self.known().filter(|known| left == *known || (left.ends_with(known) && long(known)));
        known.max_by_key(|known| known.len())
    }

    /// The known prompt that `left` begins with: a line was already there.
    pub(super) fn beginning(&self, left: &str) -> Option<&str> {
        let known = self.known().filter(|known| left.starts_with(known));
        known.max_by_key(|known| known.len())
    }

    /// Judges what stands left of the cursor where somebody begins to type, `running` being what the
    /// last command of a shell started.
    pub(super) fn judge(&self, left: &str, running: Starts) -> Asks {
        let shown = left.trim();
        if shown.is_empty() {
            return Asks::Program;
        }
        if self.exact(left).is_some() {
            return Asks::Shell;
        }
        let shellish = is_shellish(shown);
        if self.known.is_empty() {
            return if is_question(shown) { Asks::Program } else { Asks::NewShell };
        }
        match running {
            Starts::Repl => Asks::Repl,
            Starts::FullScreen if self.resembles_any(left) => Asks::NewShell,
            Starts::FullScreen => Asks::Program,
            Starts::Shell | Starts::Multiplexer if shellish => Asks::NewShell,
            Starts::AnyPrompt if !asks_for_secret(shown) => Asks::NewShell,
            Starts::OtherPrompt if !is_question(shown) => Asks::NewShell,
            Starts::Shell
            | Starts::Multiplexer
            | Starts::OtherPrompt
            | Starts::AnyPrompt
            | Starts::Unknown => {
                if is_repl(shown) {
                    Asks::Repl
                } else if self.resembles_any(left) || (shellish && shown.contains('@')) {
                    Asks::NewShell
                } else {
                    Asks::Program
                }
            }
        }
    }
}

/// Ends as the prompts of shells do.
pub(super) fn is_shellish(shown: &str) -> bool {
    if is_question(shown) {
        return false;
    }
    let Some(last) = shown.chars().last() else { return false };
    matches!(last, '$' | '#' | '%' | '>' | ']' | ')' | '~') || (!last.is_ascii() && !last.is_alphanumeric())
}

/// Ends as questions do.
pub(super) fn is_question(shown: &str) -> bool {
    shown.ends_with([':', '?'])
        || shown.ends_with("[Y/n]")
        || shown.ends_with("[y/N]")
        || shown.ends_with("(y/n)")
}

/// What the text says if it was drawn with the line-drawing characters that a stray byte switches on.
pub(super) fn ungarble(text: &str) -> String {
    const DRAWN: &str = "♦▒␉␌␍␊°±␤␋┘┐┌└┼⎺⎻─⎼⎽├┤┴┬│≤≥π≠£⋅";
    let plain = |ch: char| DRAWN.chars().position(|drawn| drawn == ch).and_then(|at| u8::try_from(at).ok());
    text.chars().map(|ch| plain(ch).map_or(ch, |at| char::from(b'`' + at))).collect()
}

/// Asks for a password in so many words.
pub(super) fn asks_for_secret(shown: &str) -> bool {
    let shown = shown.to_lowercase();
    shown.ends_with(':')
        && ["password", "passphrase", "passcode", "pin", "secret"].iter().any(|word| shown.contains(word))
}

/// Prompts that only programs with a language of their own have.
fn is_repl(shown: &str) -> bool {
    if matches!(shown, ">>>" | "..." | ">" | "?" | "*" | "=>" | "(gdb)" | "(lldb)" | "(Pdb)" | "irb>" | ">>")
    {
        return true;
    }
    if shown.contains(['@', '/', '~', '\\']) {
        return false;
    }
    let word = shown.trim_end_matches(['>', '#', ':', '=', '-', ']', ')', '(', '[']);
    (shown.ends_with('>') || shown.ends_with("=#") || shown.ends_with("=>"))
        && !word.is_empty()
        && word.chars().all(|ch| ch.is_ascii_alphanumeric() || " ._-[]()".contains(ch))
}

/// Whether a prompt may be a known one with another folder, host or time in it.
fn resembles(left: &str, known: &str) -> bool {
    let (left, known): (Vec<char>, Vec<char>) = (left.chars().collect(), known.chars().collect());
    let shorter = left.len().min(known.len());
    let start = left.iter().zip(&known).take_while(|(a, b)| a == b).count();
    let end = left.iter().rev().zip(known.iter().rev()).take_while(|(a, b)| a == b).count();
    let end = end.min(shorter - start.min(shorter));
    let sign = |prompt: &[char]| prompt.iter().rev().find(|ch| !ch.is_whitespace()).copied();
    if sign(&left) != sign(&known) {
        return false;
    }
    let unusual = sign(&known).is_some_and(|ch| !ch.is_ascii() && !ch.is_alphanumeric());
    unusual || start >= 3 || end >= 4 || (start + end) * 2 >= shorter
}

/// Whether a prompt asks for the rest of what was begun, as `PS2` does.
pub(super) fn is_continuation(shown: &str) -> bool {
    const WORDS: &str = "always array bquote braceparam case cmdand cmdor cmdsubst cond coproc cursh dquote elif \
        else errpipe for foreach function heredoc if math mathsubst nocorrect pipe quote repeat select subsh then \
        test until while ...";
    let shown = shown.trim();
    let open = |words: &str| {
        words.split(' ').all(|word| word.is_empty() || WORDS.split(' ').any(|known| known == word))
    };
    shown.strip_suffix('>').is_some_and(open) || matches!(shown, "..." | "…" | "∙" | "::" | "→")
}
