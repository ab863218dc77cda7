//! What may fail, fails: the server, the disk, the object store, the database.

use std::{
    io::{BufRead as _, BufReader},
    process::Stdio,
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use sojourn_testbed::{
    bed::{Bed, SOON, text},
    flaky::{Flaky, Mood},
    objects::{BUCKET, Objects},
    postgres,
    process::Installation,
    run::{self, Running},
    wait,
};

use crate::full;

/// Sessions that are busy while something fails.
const BUSY: usize = 20;
/// What may be missing of what a client has already seen.
const MAY_BE_LOST: Duration = Duration::from_secs(1);

/// A terminal that prints numbered lines, and what its user has seen of them.
struct Chatter {
    tag: String,
    seen: Arc<Mutex<Vec<(Instant, u64)>>>,
    ssh: Running,
}

impl Chatter {
    fn start(bed: &Bed, tag: String) -> Self {
        let mut ssh = bed.way().ssh_with(&["-tt"]);
        // Bash waits in `read` without starting anything.
        ssh.arg(format!("i=0; while :; do echo {tag}-$i-; i=$((i+1)); read -rt 0.05; done"));
        let mut ssh = Running::start(ssh.stdin(Stdio::piped()).stdout(Stdio::piped()));
        let lines = BufReader::new(ssh.0.stdout.take().unwrap()).lines();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (shared, prefix) = (seen.clone(), format!("{tag}-"));
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let number = line.trim().strip_prefix(&prefix).and_then(|rest| rest.strip_suffix('-'));
                if let Some(number) = number.and_then(|number| number.parse().ok()) {
                    let mut seen = shared.lock().unwrap_or_else(PoisonError::into_inner);
                    seen.push((Instant::now(), number));
                }
            }
        });
        Self { tag, seen, ssh }
    }

    /// The last number that was seen until then.
    fn seen_until(&self, until: Instant) -> Option<u64> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.iter().rev().find(|(at, _)| *at <= until).map(|(_, number)| *number)
    }

    /// It goes on showing lines.
    fn prove_alive(&self) {
        let before = self.seen_until(Instant::now());
        wait::until(&format!("{} to go on", self.tag), SOON, || {
            (self.seen_until(Instant::now()) > before).then_some(())
        });
    }

    /// The recording has every number up to this one, in order.
    #[track_caller]
    fn assert_recorded(&self, bed: &Bed, id: &str, last: Option<u64>) {
        let Some(last) = last else { return };
        let output = bed.cast(id).output();
        let mut from = 0;
        for number in 0..=last {
            let line = format!("{}-{number}-", self.tag);
            let Some(at) = output[from..].find(&line) else {
                panic!("{line} is missing from the recording, and {last} had been seen");
            };
            from += at;
        }
    }
}

fn busy(bed: &Bed, round: u64) -> Vec<Chatter> {
    let chatters: Vec<_> = (0..BUSY).map(|index| Chatter::start(bed, format!("r{round}c{index}x"))).collect();
    for chatter in &chatters {
        wait::until("every session to talk", SOON, || chatter.seen_until(Instant::now()));
    }
    chatters
}

/// Numbers that look random and are the same in every run with the same seed (splitmix64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }
}

fn number_from_environment(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

/// `SOJOURN_TEST_ROUNDS` and `SOJOURN_TEST_SEED` choose other rounds.
#[test]
fn a_killed_server_loses_at_most_a_second_and_leaves_nothing_open() {
    let Some(mut bed) = Bed::start() else { return };
    let rounds = number_from_environment("SOJOURN_TEST_ROUNDS", full(3, 100));
    let mut dice = Dice(number_from_environment("SOJOURN_TEST_SEED", 1));
    for round in 0..rounds {
        let chatters = busy(&bed, round);
        wait::during(Duration::from_millis(200 + dice.below(2500)), || {});
        let killed = Instant::now();
        bed.kill();
        bed.serve_again();
        after_the_kill(&bed, &chatters, killed);
    }
    let open = bed.sessions("live=true");
    assert!(open.is_empty(), "still open after {rounds} rounds: {open:?}");
}

#[track_caller]
fn after_the_kill(bed: &Bed, chatters: &[Chatter], killed: Instant) {
    for chatter in chatters {
        let session = bed.session_of(&format!("{}-", chatter.tag));
        let session = bed.ended(&text(&session["id"]));
        let id = text(&session["id"]);
        assert_eq!(session["endReason"], "server_died", "{session}");
        let state = text(&session["recording"]);
        assert!(matches!(state.as_str(), "sealed" | "incomplete"), "{session}");
        let verified = bed.verify(&id);
        assert_eq!((&verified["ok"], &verified["status"]), (&json!(true), &json!(state)), "{verified}");
        chatter.assert_recorded(bed, &id, chatter.seen_until(killed - MAY_BE_LOST));
    }
}

/// The whole of a session, from its start to its sealed recording.
#[track_caller]
fn prove_a_whole_session(bed: &Bed, tag: &str) -> Value {
    let mut ssh = bed.way().ssh_with(&["-tt"]);
    ssh.arg(format!("echo {tag}-said"));
    let done = run::output(ssh, SOON).ok();
    assert!(done.out().contains("-said"), "{}", done.out());
    bed.session_of(tag)
}

#[test]
fn a_failing_object_store_harms_no_session() {
    let Some(objects) = Objects::start() else { return };
    let flaky = Flaky::before(objects.address());
    let installation = Installation::without_sources()
        .argument(format!("--objects=s3://{BUCKET}/kept?endpoint=http://{}", flaky.address()));
    let installation = objects
        .environment()
        .into_iter()
        .filter(|(name, _)| !name.contains("ENDPOINT"))
        .fold(installation, |installation, (name, value)| installation.variable(name, value));
    let Some(bed) = Bed::with(installation, &json!({})) else { return };
    let session = prove_a_whole_session(&bed, "wellfirst");
    let session = bed.ended(&text(&session["id"]));
    assert_eq!(session["recording"], "sealed", "{session}");
    assert!(objects.keys().iter().any(|key| key.contains(&text(&session["id"]))), "{:?}", objects.keys());

    for (mood, tag) in [(Mood::Gone, "gone"), (Mood::Silent, "silent"), (Mood::Slow, "slow")] {
        let chatter = Chatter::start(&bed, format!("{tag}chatterx"));
        chatter.prove_alive();
        flaky.set(mood);
        let ended = prove_a_whole_session(&bed, &format!("{tag}ended"));
        wait::during(Duration::from_secs(3), || {});
        chatter.prove_alive();
        // What ended meanwhile is safe, readable and, in the end, sealed.
        flaky.set(Mood::Well);
        chatter.prove_alive();
        let ended = bed.ended(&text(&ended["id"]));
        assert_eq!(ended["recording"], "sealed", "{tag}: {ended}");
        assert_eq!(bed.verify(&text(&ended["id"]))["ok"], json!(true), "{tag}");
        let session = bed.session_of(&format!("{}-", chatter.tag));
        let last = chatter.seen_until(Instant::now());
        drop(chatter.ssh);
        let session = bed.ended(&text(&session["id"]));
        assert_eq!(session["recording"], "sealed", "{tag}: {session}");
        assert_eq!(bed.verify(&text(&session["id"]))["ok"], json!(true), "{tag}");
        assert!(last.is_some());
    }
}

#[test]
fn a_database_that_is_gone_for_a_while_ends_no_session() {
    let Some(database) = postgres::fresh_database() else { return };
    let at = database.url().rsplit_once('@').and_then(|(_, rest)| rest.split_once('/'));
    let far = at.and_then(|(address, _)| address.parse().ok()).expect("an address in the URL");
    let flaky = Flaky::before(far);
    let url = database.url().replace(&far.to_string(), &flaky.address().to_string());
    let Some(bed) = Bed::with(Installation::without_sources().database(&url), &json!({})) else { return };
    let chatters: Vec<_> = (0..5).map(|index| Chatter::start(&bed, format!("db{index}x"))).collect();
    chatters.iter().for_each(Chatter::prove_alive);
    let ids: Vec<_> = chatters.iter().map(|c| text(&bed.session_of(&format!("{}-", c.tag))["id"])).collect();
    flaky.set(Mood::Gone);
    let away = Duration::from_secs(full(8, 30));
    wait::during(away, || {});
    chatters.iter().for_each(Chatter::prove_alive);
    flaky.set(Mood::Well);
    wait::until("the API to answer again", SOON, || {
        let answer = bed.admin().try_send("GET", "/sessions?limit=1", None).ok()?;
        (answer.status == 200).then_some(())
    });
    chatters.iter().for_each(Chatter::prove_alive);
    prove_a_whole_session(&bed, "afterwards");
    let shown: Vec<_> = chatters.iter().map(|c| c.seen_until(Instant::now() - MAY_BE_LOST)).collect();
    // What still comes while they are being ended is recorded too; what was seen before must be.
    let tags: Vec<_> = chatters
        .into_iter()
        .map(|chatter| {
            let Chatter { tag, seen, ssh } = chatter;
            (tag, seen, drop(ssh))
        })
        .collect();
    for ((id, last), (tag, ..)) in ids.iter().zip(shown).zip(tags) {
        let session = bed.ended(id);
        assert_eq!(session["recording"], "sealed", "{session}");
        let output = bed.cast(id).output();
        for number in 0..=last.expect("it was alive") {
            assert!(output.contains(&format!("{tag}-{number}-")), "{tag}-{number} is missing");
        }
    }
}
