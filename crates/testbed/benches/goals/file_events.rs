//! What a file session with very many events costs: to be exported in both forms, and to stand in a list.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sojourn_testbed::{bed::Bed as Gateway, process::Installation, python, run};

use crate::{Bed, Figure, Http, access::scaled, memory_mb, per_call, reset_peak};

const LONG: Duration = Duration::from_secs(900);
const SEED: &str = include_str!("seed_file_events.py");

/// One session of a million events, among a hundred thousand others.
pub(crate) fn exports(_: &Bed, figures: &mut Vec<Figure>) {
    let Some(mut bed) = Gateway::with(Installation::without_sources(), &json!({})) else { return };
    bed.stop();
    let directory = tempfile::tempdir().expect("a directory");
    let (events, sessions) = (scaled(1_000_000), scaled(100_000));
    let Some(mut seed) = python::script(directory.path(), "seed_file_events.py", SEED) else { return };
    seed.arg(bed.installation.data_dir()).arg(events.to_string()).arg(sessions.to_string());
    let seeded = run::output(seed, LONG).ok();
    let id = seeded.out().trim().to_owned();
    bed.serve_again();
    let http = Http::new(bed.server(), &bed.admin_token);
    let listed: Value = serde_json::from_str(&http.get("/file-sessions?limit=25")).expect("JSON");
    assert_eq!(listed["total"].as_u64(), Some(sessions + 1), "all of them are listed");
    let what = format!("/file-sessions?limit=25 of {sessions} sessions");
    figures.push(per_call(bed.server(), &what, 1.0, 500, || drop(http.get("/file-sessions?limit=25"))));
    let page = format!("/file-sessions/{id}/events?limit=25");
    let what = format!("25 of {events} events of a file session");
    figures.push(per_call(bed.server(), &what, 1.0, 500, || drop(http.get(&page))));

    for format in ["json", "csv"] {
        reset_peak(bed.server());
        let before = memory_mb(bed.server(), "VmRSS");
        let started = Instant::now();
        let path = format!("/file-sessions/{id}/export?format={format}");
        let (bytes, found) = http.count(&path, "index-");
        let took = started.elapsed().as_secs_f64();
        assert_eq!(found as u64, events, "all of them are exported");
        println!("export of {events} events as {format}: {bytes} bytes in {took:.1} s");
        let peak = memory_mb(bed.server(), "VmHWM") - before;
        let what = format!("export of {events} events as {format}, peak memory");
        figures.push(Figure::at_most(what, peak, 30.0, "MB"));
    }
}
