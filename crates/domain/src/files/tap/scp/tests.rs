//! What both sides say, in pieces of several sizes, and what is made of it.

use super::super::Tap;
use super::*;

const NOW: Timestamp = Timestamp::from_secs(1);

/// What both sides say in turns, the client first; in pieces of so many bytes.
fn talk(command: &str, turns: &[&[u8]], size: usize, ending: Ending) -> (Vec<String>, String) {
    let mut tap = Tap::of_command(command.as_bytes()).unwrap();
    let mut facts = Vec::new();
    for (at, turn) in turns.iter().enumerate() {
        for piece in turn.chunks(size) {
            match at % 2 {
                0 => tap.client(NOW, piece, &mut facts),
                _ => tap.server(NOW, piece, &mut facts),
            }
        }
    }
    tap.finish(NOW, ending, &mut facts);
    let line = |fact: &Fact| {
        let mut line = format!("{} {}", fact.action, fact.path);
        line += &fact.new_path.as_ref().map_or(String::new(), |path| format!(" or {path}"));
        line += &fact.bytes.map_or(String::new(), |bytes| format!(" {bytes}"));
        line += &fact.entries.map_or(String::new(), |entries| format!(" of {entries}"));
        line += &fact.sha256.as_ref().map_or(String::new(), |sha| format!(" #{}", &sha[..4]));
        match fact.outcome {
            FileOutcome::Ok => line,
            FileOutcome::Failed | FileOutcome::Denied | FileOutcome::Interrupted => {
                format!("{line} {}: {}", fact.outcome, fact.error)
            }
        }
    };
    (facts.iter().map(line).collect(), tap.lost().map(Lost::to_string).unwrap_or_default())
}

#[track_caller]
fn says(command: &str, turns: &[&[u8]], ending: Ending, expected: &[&str]) {
    for size in [1, 3, usize::MAX] {
        assert_eq!(talk(command, turns, size, ending), (lines(expected), String::new()), "{size}");
    }
}

fn lines(lines: &[&str]) -> Vec<String> {
    lines.iter().map(|line| (*line).to_owned()).collect()
}

#[test]
fn uploads() {
    let turns: &[&[u8]] = &[
        b"",
        b"\0",
        b"T1 0 1 0\n",
        b"\0",
        b"C0644 5 a b\n",
        b"\0",
        b"hello\0",
        b"\0",
        b"C0644 0 empty\n",
        b"\0",
        b"\0",
        b"\0",
        b"C0644 9 refused\n",
        b"\x01scp: refused: Permission denied\n",
        b"C0644 3 full\n",
        b"\0",
        b"abc\0",
        b"\x01scp: full: No space left on device\n",
    ];
    let expected = [
        "upload ./in/a b 5 #2cf2",
        "upload ./in/empty 0 #e3b0",
        "upload ./in/refused 0 failed: refused: Permission denied",
        "upload ./in/full 3 failed: full: No space left on device",
    ];
    says("scp -p -d -t in", turns, Ending::Exit(1), &expected);
    let named: &[&[u8]] = &[b"", b"\0", b"C0644 5 a\n", b"\0", b"hello\0", b"\0"];
    says("scp -t '/x/new name'", named, Ending::Exit(0), &["upload /x/new name or /x/new name/a 5 #2cf2"]);
    says("/usr/bin/scp -t /x/", named, Ending::Exit(0), &["upload /x/a 5 #2cf2"]);
}

#[test]
fn downloads_of_folders_and_what_is_not_there() {
    let turns: &[&[u8]] = &[
        b"\0",
        b"D0755 0 top\n",
        b"\0",
        b"C0644 5 a\n",
        b"\0",
        b"hello\0",
        b"\0",
        b"\x01scp: x/top/secret: Permission denied\n",
        b"",
        b"E\n",
        b"\0",
        b"",
    ];
    let expected = [
        "download ./x/top/a 5 #2cf2",
        "download ./x/top/secret 0 failed: Permission denied",
        "browse ./x/top of 1",
    ];
    says("scp -r -f x/top", turns, Ending::Exit(1), &expected);
    let none: &[&[u8]] = &[b"\0", b"\x01scp: none: No such file or directory\n"];
    let expected = ["download ./none 0 failed: No such file or directory"];
    says("scp -f none", none, Ending::Exit(1), &expected);
}

#[test]
fn what_is_cut_and_what_makes_no_sense() {
    let cut: &[&[u8]] = &[b"", b"\0", b"C0644 5 a\n", b"\0", b"hel"];
    let why = "interrupted: the session ended before it was done";
    says("scp -t .", cut, Ending::Cut, &[&format!("upload ./a 3 {why}")]);
    let (_, lost) = talk("scp -t .", &[b"", b"\0", b"X nonsense\n"], 9, Ending::Cut);
    assert_eq!(lost, "the client sent what is not scp");
    let ahead = [&b"C0644 5 a\n"[..], &[0; AHEAD_BYTES + 1]].concat();
    let (_, lost) = talk("scp -t .", &[b"", b"\0", &ahead], 99, Ending::Cut);
    assert_eq!(lost, "the client did not wait for the target's answers");
    assert!(Tap::of_command(b"scp a b").is_none() && Tap::of_command(b"ls").is_none());
}
