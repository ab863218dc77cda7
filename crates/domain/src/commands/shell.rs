//! What a command line says about what comes after it.

/// What a command leaves in front of the user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Starts {
    /// Another shell, perhaps with another prompt.
    Shell,
    /// Nothing new, but the prompt may look different afterwards.
    OtherPrompt,
    /// Nothing new, but the prompt will look different afterwards.
    AnyPrompt,
    /// A program that prompts for lines of its own.
    Repl,
    /// A program that takes the screen.
    FullScreen,
    /// A program that divides the screen among shells.
    Multiplexer,
    Unknown,
}

const SHELLS: &str = "\
    ash bash chroot csh dash distrobox elvish fish kitten ksh login lxc machinectl mksh mosh newgrp \
    nix nix-shell nsenter nu pdksh pipenv plink poetry pwsh rbash rlogin rsh runuser script sg sh \
    ssh su systemd-run tcsh telnet toolbox unshare vagrant virsh xonsh yash zsh";
const CONTAINERS: &str = "\
    crictl docker docker-compose kubectl nerdctl oc podman";
const MULTIPLEXERS: &str = "\
    abduco byobu dtach dvtm screen tmux zellij";
const PROMPT_CHANGERS: &str = "\
    . activate bind conda deactivate eval exec export fish_config function mamba micromamba module \
    p10k prompt set setopt source starship unset unsetopt";
const REPLS: &str = "\
    bc bluetoothctl bpython clickhouse-client clisp cqlsh dc deno duckdb ed erl expect fdisk ftp gdb \
    gdisk ghci gnuplot guile iex influx ipython ipython3 irb isql jshell julia kotlin lftp lldb lua \
    mail mailx mariadb maxima mongo mongosh mysql node nodejs nslookup ocaml octave parted perl \
    pgcli php pry psql pypy pypy3 python r racket rails redis-cli ruby sage sbcl scala sftp sqlcmd \
    sqlite3 sqlplus swipl tclsh units utop wish";
const FULL_SCREEN: &str = "\
    alsamixer aptitude atop bat bmon btop cfdisk crontab dialog emacs fzf gitui htop iftop info \
    iotop irssi joe journalctl k9s lazydocker lazygit less links lynx man mc mcedit micro more most \
    mutt nano ncdu ne neomutt nmtui nnn nvim nvtop pico pinfo ranger sudoedit tig top vi view vifm \
    vim vimdiff vipw visudo w3m watch weechat whiptail hx kak";

/// Judges a command line by the names of its programs.
pub(super) fn starts(line: &str) -> Starts {
    let mut found = Starts::Unknown;
    for command in line.split([';', '|', '&', '\n', '(', '{']) {
        let starts = starts_simple(command);
        if starts != Starts::Unknown {
            found = starts;
        }
    }
    found
}

fn starts_simple(command: &str) -> Starts {
    let mut elevated = false;
    let mut words = command.split_whitespace().peekable();
    while let Some(word) = words.next() {
        let word = word.trim_matches(['"', '\'', '\\']);
        let name = word.rsplit('/').next().unwrap_or(word);
        if let Some((variable, _)) = word.split_once('=')
            && variable.chars().all(|ch| ch.is_alphanumeric() || ch == '_')
        {
            if matches!(variable, "PS1" | "PROMPT" | "PROMPT_COMMAND" | "RPROMPT" | "RPS1" | "prompt") {
                return Starts::AnyPrompt;
            }
            continue;
        }
        match name {
            "sudo" | "doas" | "pkexec" => {
                elevated = true;
                if words.peek().is_none() {
                    return Starts::Unknown;
                }
                continue;
            }
            "-i" | "-s" | "--login" | "--shell" if elevated => return Starts::Shell,
            // Options with a value, of which the value is no program.
            "-u" | "-g" | "-U" | "-C" | "-n" | "-t" if elevated => {
                if name == "-u" || name == "-g" || name == "-U" || name == "-C" {
                    words.next();
                }
                continue;
            }
            "export" if words.peek().is_some_and(|next| next.contains("PS1=") || next.contains("PROMPT")) => {
                continue;
            }
            "command" | "env" | "ionice" | "nice" | "nohup" | "noglob" | "setsid" | "stdbuf" | "strace"
            | "time" | "then" | "do" | "else" | "if" | "while" | "builtin" | "rlwrap" | "winpty"
            | "timeout" => continue,
            "exec" if words.peek().is_some() => continue,
            _ if name.starts_with('-') => continue,
            _ => {}
        }
        return program(name, words.collect::<Vec<_>>().as_slice());
    }
    Starts::Unknown
}

fn program(name: &str, arguments: &[&str]) -> Starts {
    let lower = name.to_ascii_lowercase();
    let base = lower.trim_end_matches(|ch: char| ch.is_ascii_digit() || ch == '.');
    let base = if base.is_empty() { lower.as_str() } else { base };
    let has = |list: &str| list.split_whitespace().any(|word| word == lower || word == base);
    if has(MULTIPLEXERS) {
        Starts::Multiplexer
    } else if has(CONTAINERS) {
        let inside = ["exec", "run", "attach", "rsh", "debug", "enter"];
        let enters = arguments.iter().any(|argument| inside.contains(argument));
        if enters { Starts::Shell } else { Starts::Unknown }
    } else if has(FULL_SCREEN) {
        Starts::FullScreen
    } else if lower == "git" {
        let paged = ["log", "diff", "show", "blame", "commit", "rebase", "add", "branch", "reflog"];
        let shown = arguments.first().is_some_and(|first| paged.contains(first));
        if shown { Starts::FullScreen } else { Starts::Unknown }
    } else if lower == "systemctl" {
        Starts::FullScreen
    } else if has(REPLS) {
        Starts::Repl
    } else if has(SHELLS) {
        Starts::Shell
    } else if has(PROMPT_CHANGERS) {
        Starts::OtherPrompt
    } else {
        Starts::Unknown
    }
}

/// Whether a shell would ask for more lines after these.
pub(super) fn is_incomplete(text: &str) -> bool {
    let mut scan = Scan::default();
    let mut lines = text.split('\n');
    while let Some(line) = lines.next() {
        scan.line(line);
        for (word, strip_tabs) in std::mem::take(&mut scan.heredocs) {
            let over = lines.by_ref().any(|line| {
                let line = if strip_tabs { line.trim_start_matches('\t') } else { line };
                line == word
            });
            if !over {
                return true;
            }
        }
    }
    scan.quote.is_some() || scan.depth > 0 || scan.continued
}

#[derive(Default)]
struct Scan {
    quote: Option<char>,
    /// Open parentheses, braces, `do`, `if` and `case`.
    depth: i32,
    /// The last line ended in a backslash, a pipe or another operator that wants more.
    continued: bool,
    heredocs: Vec<(String, bool)>,
}

impl Scan {
    fn line(&mut self, line: &str) {
        self.continued = false;
        let chars: Vec<char> = line.chars().collect();
        let mut word = String::new();
        // Keywords count only where a command may begin.
        let mut first = true;
        let mut at = 0;
        while at < chars.len() {
            let ch = chars[at];
            let next = chars.get(at + 1).copied();
            at += 1;
            if let Some(quote) = self.quote {
                if ch == quote {
                    self.quote = None;
                } else if ch == '\\' && quote != '\'' {
                    at += 1;
                }
                continue;
            }
            match ch {
                '\\' => {
                    if next.is_none() {
                        self.continued = true;
                        return;
                    }
                    word.push('x');
                    at += 1;
                }
                '\'' | '"' | '`' => {
                    self.quote = Some(ch);
                    word.push('x');
                }
                '#' if word.is_empty() && (at == 1 || chars[at - 2].is_whitespace()) => break,
                '<' if next == Some('<') && chars.get(at + 1) != Some(&'<') => {
                    at = self.heredoc(&chars, at + 1)
                }
                '<' if next == Some('<') => at += 2,
                '$' if matches!(next, Some('(' | '{')) => {
                    self.depth += 1;
                    at += 1;
                    first = next == Some('(');
                    word.clear();
                }
                ';' | '|' | '&' | '(' | ')' => {
                    self.keyword(&word, first);
                    word.clear();
                    first = true;
                    self.depth += i32::from(ch == '(') - i32::from(ch == ')');
                }
                '}' if word.is_empty() || !first => self.depth -= 1,
                _ if ch.is_whitespace() => {
                    if !word.is_empty() {
                        first = self.keyword(&word, first);
                        word.clear();
                    }
                }
                _ => word.push(ch),
            }
        }
        self.keyword(&word, first);
        let code = line.trim_end();
        self.continued =
            self.quote.is_none() && (code.ends_with("&&") || (code.ends_with('|') && !code.ends_with("\\|")));
        // Patterns of `case` close what they did not open.
        self.depth = self.depth.max(0);
    }

    /// Counts a word, and says whether a command may begin after it.
    fn keyword(&mut self, word: &str, first: bool) -> bool {
        if !first {
            return false;
        }
        match word {
            "" => true,
            "do" | "if" | "case" | "{" => {
                self.depth += 1;
                word != "case"
            }
            "done" | "fi" | "esac" => {
                self.depth -= 1;
                false
            }
            // fish ends everything so; elsewhere it is a word like others.
            "end" => {
                self.depth -= 1;
                false
            }
            "then" | "else" | "elif" | "while" | "until" | "!" | "time" => true,
            _ => false,
        }
    }

    /// Reads the delimiter of a here document; returns where the line goes on.
    fn heredoc(&mut self, chars: &[char], mut at: usize) -> usize {
        let strip_tabs = chars.get(at) == Some(&'-');
        at += usize::from(strip_tabs);
        while chars.get(at) == Some(&' ') {
            at += 1;
        }
        let mut word = String::new();
        while let Some(&ch) = chars.get(at).filter(|ch| !ch.is_whitespace() && !";|&<>()".contains(**ch)) {
            if !matches!(ch, '\'' | '"' | '\\') {
                word.push(ch);
            }
            at += 1;
        }
        if !word.is_empty() {
            self.heredocs.push((word, strip_tabs));
        }
        at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_what_a_command_starts() {
        for (line, expected) in [
            ("sudo -u bob -i", Starts::Shell),
            ("su - alice", Starts::Shell),
            ("cd x && python3.11 -i", Starts::Repl),
            ("FOO=1 /usr/bin/sqlite3 a.db", Starts::Repl),
            ("PS1='$ '", Starts::AnyPrompt),
            ("docker exec -it web sh", Starts::Shell),
            ("docker ps", Starts::Unknown),
            ("sudo vim /etc/hosts", Starts::FullScreen),
            ("tmux attach", Starts::Multiplexer),
            ("echo ssh", Starts::Unknown),
            ("sudo id", Starts::Unknown),
        ] {
            assert_eq!(starts(line), expected, "{line}");
        }
    }

    #[test]
    fn tells_whether_a_line_wants_more() {
        for line in [
            "cat <<EOF",
            "cat <<-'EOF' | sort\nx",
            "echo \"a",
            "echo it's",
            "ls |",
            "true &&",
            "for i in 1 2; do",
            "if true",
            "if true; then\necho",
            "f() {",
            "echo \\",
            "(cd /",
            "x=$(ls",
        ] {
            assert!(is_incomplete(line), "{line}");
        }
        for line in [
            "cat <<EOF\nx\nEOF",
            "echo done",
            "echo 'a b' \"c\"",
            "for i in 1 2; do echo $i; done",
            "if true; then echo; fi",
            "f() { echo; }",
            "echo ${x} $(ls) `ls`",
            "cat <<< hello",
            "echo if do {",
            "sleep 1 &",
            "echo a # it's a comment",
            "case x in a) echo;; esac",
        ] {
            assert!(!is_incomplete(line), "{line}");
        }
    }
}
