//! Which requests move files, for connections that allow none.
//!
//! It keeps honest people from the usual tools. It is no wall: whoever has a shell can print a file.

/// Programs that the usual tools start at the other end.
const PROGRAMS: &[&str] = &["scp", "sftp-server", "rsync", "rclone", "unison"];

/// A subsystem that moves files.
pub(super) fn subsystem(name: &str) -> bool {
    matches!(name, "sftp" | "sftp@openssh.com")
}

/// A command that such a tool starts: its first word is the program, with or without a path.
pub(super) fn command(command: &[u8]) -> bool {
    let command = String::from_utf8_lossy(command);
    let mut words = command.split_ascii_whitespace();
    let first = words.find(|word| !matches!(*word, "exec" | "command" | "nohup" | "env" | "sudo"));
    let program = first.and_then(|word| word.trim_matches(['"', '\'']).rsplit('/').next());
    program.is_some_and(|program| PROGRAMS.contains(&program))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_tools() {
        for moves in [
            "scp -t /tmp",
            "/usr/bin/scp -f x",
            "rsync --server -e.L . x",
            "exec /usr/lib/openssh/sftp-server",
            "sudo rsync --server",
            "'scp' -t .",
        ] {
            assert!(command(moves.as_bytes()), "{moves}");
        }
        for other in ["ls", "echo scp", "scpx", "", "git-upload-pack 'x'"] {
            assert!(!command(other.as_bytes()), "{other}");
        }
        assert!(subsystem("sftp") && !subsystem("netconf"));
    }
}
