//! What desktops in the browser cost the server: Chromium looks, TigerVNC shows, and everything is recorded.

use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use sojourn_testbed::{
    bed::{Bed as Gateway, text},
    process::Installation,
    run::Running,
    vnc::{Login, Vnc},
    wait,
};

use crate::{Bed, Figure, cpu, memory_mb};

const SIZE: (u16, u16) = (1280, 720);
/// How long each kind of work is looked at.
const WATCHED: Duration = Duration::from_secs(60);
const AT_ONCE: u32 = 10;
/// Somebody who writes, reads and leafs through.
const OFFICE: &str = "while :; do clear; for word in $(seq 40); do printf 'word-%s ' $word; sleep 0.2; done; \
    ls -la /etc | head -60; sleep 4; ls -la /usr/lib | head -60; sleep 4; done";
/// Something that changes all the time, 25 times a second.
const ANIMATION: &str = "while :; do head -c 1400 /dev/urandom | base64 -w 78; sleep 0.04; done";

pub(crate) fn desktops(_: &Bed, figures: &mut Vec<Figure>) {
    if !Path::new(env!("CARGO_MANIFEST_DIR")).join("../../web/node_modules").is_dir() {
        println!("NOT MEASURED: desktops in the browser; the web UI's packages are not installed");
        return;
    }
    let Some(bed) = Gateway::with(Installation::without_sources(), &json!({})) else { return };
    let Some(desktop) = Vnc::start_with(Login::Password, SIZE) else { return };
    let made = bed.admin().post(
        "/connections",
        json!({
            "name": "office", "protocol": "vnc", "host": "127.0.0.1", "port": desktop.port(),
            "password": desktop.password(), "policy": {"record": "mandatory"},
            "grants": [{"kind": "user", "name": "alice"}],
        }),
    );
    let connection = text(&made["id"]);
    for (name, geometry, work, processor, rate) in [
        ("a 1280x720 office desktop", "150x40+20+20", OFFICE, 8.0, Some(600.0)),
        ("continuous animation of 640x360", "104x26+20+20", ANIMATION, 25.0, None),
    ] {
        let mut xterm = desktop.command("xterm");
        xterm.args(["-geometry", geometry, "-e", "sh", "-c", work]);
        let busy = Running::start(xterm.stdout(Stdio::null()).stderr(Stdio::null()));
        let people = People::look(&bed, &connection, 1);
        let shown = Instant::now();
        // What a beginning costs is not what going on costs.
        wait::during(Duration::from_secs(5), || {});
        let (began, before) = (Instant::now(), cpu(bed.server()));
        wait::during(WATCHED, || {});
        let spent = (cpu(bed.server()) - before).as_secs_f64() / began.elapsed().as_secs_f64() * 100.0;
        assert_eq!(people.leave(), 1, "still connected");
        let seconds = shown.elapsed().as_secs_f64();
        drop(busy);
        let session = bed.ended(&newest(&bed));
        assert_eq!(session["recording"], "sealed", "{session}");
        let kbits = session["fileSize"].as_f64().expect("a size") * 8.0 / 1000.0 / seconds;
        println!("{name}: {spent:.2} % of a core for all of the session, {kbits:.0} kbit/s of film");
        let what = format!("{name}, shown and recorded");
        figures.push(Figure::at_most(what, spent, processor, "% of a core"));
        if let Some(rate) = rate {
            figures.push(Figure::at_most(format!("{name}, recorded"), kbits, rate, "kbit/s"));
        }
    }
    several(&bed, &desktop, &connection, figures);
}

/// Several at once.
fn several(bed: &Gateway, desktop: &Vnc, connection: &str, figures: &mut Vec<Figure>) {
    let mut xterm = desktop.command("xterm");
    xterm.args(["-geometry", "150x40+20+20", "-e", "sh", "-c", OFFICE]);
    let _busy = Running::start(xterm.stdout(Stdio::null()).stderr(Stdio::null()));
    let before = memory_mb(bed.server(), "VmRSS");
    let people = People::look(bed, connection, AT_ONCE);
    wait::during(WATCHED, || {});
    let each = (memory_mb(bed.server(), "VmRSS") - before) / f64::from(AT_ONCE);
    let left = people.leave();
    figures.push(Figure::at_most(format!("each of {AT_ONCE} desktops at once, memory"), each, 60.0, "MB"));
    let what = format!("of {AT_ONCE} desktops at once, still connected after {} s", WATCHED.as_secs());
    figures.push(Figure::at_least(what, f64::from(left), f64::from(AT_ONCE), "desktops"));
}

/// The session that was begun last.
fn newest(bed: &Gateway) -> String {
    let found: Vec<Value> = bed.sessions("protocol=vnc");
    text(&found.first().expect("a session")["id"])
}

/// Pages in Chromium that show a desktop.
struct People {
    node: Child,
    said: BufReader<ChildStdout>,
}

impl People {
    fn look(bed: &Gateway, connection: &str, count: u32) -> Self {
        let mut node = Command::new("node");
        node.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../web"));
        node.arg("e2e/hold-desktops.mjs").arg(format!("http://{}", bed.server().address));
        node.args([&bed.alice_token, connection, &count.to_string()]);
        let mut node = node.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("node starts");
        let said = BufReader::new(node.stdout.take().expect("a pipe"));
        let mut people = Self { node, said };
        assert_eq!(people.line(), "shown");
        people
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.said.read_line(&mut line).expect("a line");
        line.trim().to_owned()
    }

    /// How many were connected to the end.
    fn leave(mut self) -> u32 {
        drop(self.node.stdin.take());
        let left = self.line().parse().expect("a number");
        self.node.wait().expect("node ends");
        left
    }
}

impl Drop for People {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.node.kill();
        let _ = self.node.wait();
    }
}
