//! The facts equal the log of a model server; and what its random traffic does not do.

mod model;

use proptest::prelude::*;

use self::model::{CREATE, Line, Model, NOW, Packet, READ, Random, Sent, TRUNCATE, Then, WRITE, line};
use super::{
    super::{Ending, Lost, Side, Tap},
    GATHERED_BYTES, IN_FLIGHT, OPEN, PACKET_BYTES,
};
use crate::files::{Fact, FileAction, FileOutcome};

/// Feeds the traffic in pieces of any size. The beginning of what one side sends may come after the
/// other side's next packets where those do not depend on it.
fn feed(tap: &mut Tap, traffic: &[Sent], random: &mut Random) -> Vec<Fact> {
    let mut facts = Vec::new();
    let mut late: [Vec<u8>; 2] = [Vec::new(), Vec::new()];
    let mut done = [0, 0];
    let mut give = |side: usize, bytes: &[u8], random: &mut Random, facts: &mut Vec<Fact>| {
        let mut bytes = bytes;
        while !bytes.is_empty() {
            let most = if random.one_in(3) { 3 } else { 300 };
            let (piece, rest) = bytes.split_at(bytes.len().min(1 + random.below(most)));
            bytes = rest;
            match side {
                0 => tap.client(NOW, piece, facts),
                _ => tap.server(NOW, piece, facts),
            }
        }
    };
    for sent in traffic {
        let side = match sent.side {
            Side::Client => 0,
            Side::Target => 1,
        };
        let other = 1 - side;
        if sent.after > done[other] {
            let rest = std::mem::take(&mut late[other]);
            give(other, &rest, random, &mut facts);
            done[other] = sent.after;
        }
        let rest = std::mem::take(&mut late[side]);
        give(side, &rest, random, &mut facts);
        let kept = if random.one_in(2) { random.below(sent.bytes.len()) } else { 0 };
        let (now, later) = sent.bytes.split_at(sent.bytes.len() - kept);
        give(side, now, random, &mut facts);
        late[side] = later.to_vec();
    }
    for side in [0, 1] {
        let rest = std::mem::take(&mut late[side]);
        give(side, &rest, random, &mut facts);
    }
    facts
}

fn sorted(mut lines: Vec<Line>) -> Vec<Line> {
    lines.sort();
    lines
}

fn plays(seed: u64, requests: usize, cut: bool) -> (Vec<Line>, Vec<Line>, Model, Tap) {
    let mut random = Random(seed);
    let mut model = Model::play(&mut random, requests);
    if !cut {
        model.end(&mut random, false);
        for at in std::mem::take(&mut model.usable) {
            let id = model.id(&mut random);
            model.handles[at].close_sent = true;
            model.handles[at].waiting += 1;
            let request = Packet::new(4, id).string(model.handle(at)).bytes();
            model.ask(id, request, Packet::status(id, 0, ""), Then::Closed(at, true));
        }
        model.end(&mut random, false);
    }
    let mut tap = Tap::of_subsystem("sftp").unwrap();
    let mut facts = feed(&mut tap, &model.traffic, &mut random);
    if cut {
        model.end(&mut random, true);
    }
    tap.finish(NOW, Ending::Cut, &mut facts);
    let expected = sorted(model.log.clone());
    (sorted(facts.iter().map(line).collect()), expected, model, tap)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn facts_are_the_servers_own_log(seed: u64, requests in 1usize..200, cut: bool) {
        let (found, expected, _, tap) = plays(seed, requests, cut);
        prop_assert_eq!(tap.lost(), None);
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn nothing_is_held_when_all_is_answered(seed: u64, requests in 1usize..100) {
        let (_, _, _, tap) = plays(seed, requests, false);
        let Tap::Sftp(tap) = tap else { unreachable!() };
        prop_assert_eq!(tap.load(), (0, 0, 0));
    }
}

#[test]
fn the_model_does_all_of_it() {
    let mut seen = std::collections::BTreeSet::new();
    let mut hashed = [0, 0];
    for seed in 0..300 {
        let (found, ..) = plays(seed, 100, seed % 3 == 0);
        for line in &found {
            seen.insert((line.0, line.6));
            if line.5.is_some() {
                hashed[usize::from(line.0 == FileAction::Upload)] += 1;
            }
        }
    }
    for action in FileAction::ALL {
        for outcome in [FileOutcome::Ok, FileOutcome::Failed, FileOutcome::Interrupted] {
            assert!(seen.contains(&(*action, outcome)), "{action} {outcome}");
        }
    }
    assert!(hashed.iter().all(|count| *count > 100), "{hashed:?}");
}

/// A client's requests and a server's answers, one after the other.
struct Talk {
    tap: Tap,
    facts: Vec<Fact>,
}

impl Talk {
    fn new() -> Self {
        Self { tap: Tap::of_subsystem("sftp").unwrap(), facts: Vec::new() }
    }

    fn client(&mut self, packet: Packet) -> &mut Self {
        self.tap.client(NOW, &packet.bytes(), &mut self.facts);
        self
    }

    fn server(&mut self, packet: Packet) -> &mut Self {
        self.tap.server(NOW, &packet.bytes(), &mut self.facts);
        self
    }

    fn ok(&mut self, id: u32) -> &mut Self {
        self.tap.server(NOW, &Packet::status(id, 0, ""), &mut self.facts);
        self
    }

    fn lost(&mut self) -> String {
        self.tap.lost().map(Lost::to_string).unwrap_or_default()
    }
}

#[test]
fn relative_paths_begin_where_the_server_said() {
    let mut talk = Talk::new();
    talk.client(Packet::new(14, 1).string("before").number(0)).ok(1);
    talk.client(Packet::new(16, 2).string("."));
    talk.server(Packet::new(104, 2).number(1).string("/srv/a").string("").number(0));
    talk.client(Packet::new(14, 3).string("after//x/./y/../z/").number(0)).ok(3);
    talk.client(Packet::new(14, 4).string("/").number(0)).ok(4);
    talk.client(Packet::new(14, 5).string("").number(0)).ok(5);
    talk.client(Packet::new(14, 6).string(b"b\\xff\n").number(0)).ok(6);
    talk.client(Packet::new(14, 7).string(vec![b'x'; 5000]).number(0)).ok(7);
    let paths: Vec<_> = talk.facts.iter().map(|fact| fact.path.as_str()).collect();
    assert_eq!(paths[..5], ["./before", "/srv/a/after/x/y/../z", "/", "/srv/a", "/srv/a/b\\x5cxff\\x0a"]);
    assert!(paths[5].len() < 4200 && paths[5].ends_with('…'), "{}", paths[5].len());
}

#[test]
fn a_guessed_handle_is_followed_or_the_audit_is_lost() {
    // The client writes before it was told the handle; the target does all in order.
    let mut talk = Talk::new();
    talk.client(Packet::new(3, 1).string("/a").number(WRITE | TRUNCATE | CREATE).number(0));
    talk.client(Packet::new(6, 2).string("h").long(0).string("hello"));
    talk.server(Packet::new(102, 1).string("h")).ok(2);
    talk.client(Packet::new(4, 3).string("h")).ok(3);
    let fact = &talk.facts[0];
    assert_eq!((fact.path.as_str(), fact.bytes, &fact.sha256), ("/a", Some(5), &None));
    talk.client(Packet::new(6, 4).string("nobody's").long(0).string("hello")).ok(4);
    assert_eq!(talk.lost(), "the target took a handle that it had not given out");
    let mut talk = Talk::new();
    talk.client(Packet::new(6, 4).string("nobody's").long(0).string("hello"));
    talk.tap.server(NOW, &Packet::status(4, 9, "no"), &mut talk.facts);
    assert_eq!((talk.lost(), talk.facts.len()), (String::new(), 0));
}

#[test]
fn an_id_that_waits_twice_is_answered_in_order() {
    let mut talk = Talk::new();
    for path in ["/1", "/2", "/3"] {
        talk.client(Packet::new(14, 7).string(path).number(0));
    }
    talk.ok(7).ok(7).ok(7);
    let paths: Vec<_> = talk.facts.iter().map(|fact| fact.path.as_str()).collect();
    assert_eq!(paths, ["/1", "/2", "/3"]);
}

#[test]
fn limits_have_names_and_open_files_are_not_forgotten() {
    let too_long = u32::try_from(PACKET_BYTES).unwrap() + 1;
    let opened = |talk: &mut Talk| {
        talk.client(Packet::new(3, 1).string("/open").number(READ).number(0));
        talk.server(Packet::new(102, 1).string("h"));
    };
    for (side, bytes, expected) in [
        (0, too_long.to_be_bytes().to_vec(), format!("the client sent a packet of {too_long} bytes")),
        (1, b"Welcome to the machine".to_vec(), "the target sent a packet of 1466264675 bytes".to_owned()),
        (1, vec![0; 4], "the target sent what is not SFTP".to_owned()),
        (0, vec![0, 0, 0, 1, 14], "the client sent what is not SFTP".to_owned()),
        (0, vec![0, 0, 0, 12, 6, 0, 0, 0, 1, 0, 0, 0, 0], "the client sent what is not SFTP".to_owned()),
        (
            0,
            Packet::new(14, 1).string(vec![b'x'; GATHERED_BYTES]).bytes(),
            format!("the client sent a packet of {} bytes", GATHERED_BYTES + 9),
        ),
    ] {
        let mut talk = Talk::new();
        opened(&mut talk);
        let facts = &mut talk.facts;
        match side {
            0 => talk.tap.client(NOW, &bytes, facts),
            _ => talk.tap.server(NOW, &bytes, facts),
        }
        assert_eq!(talk.lost(), expected);
        assert_eq!(talk.facts.len(), 1);
        assert_eq!(talk.facts[0].outcome, FileOutcome::Interrupted);
        assert_eq!(talk.facts[0].error, format!("audit lost: {expected}"));
        opened(&mut talk);
        talk.tap.finish(NOW, Ending::Exit(0), &mut talk.facts);
        assert_eq!(talk.facts.len(), 1, "it goes on after it was lost");
    }
    let mut talk = Talk::new();
    for id in 0..=u32::try_from(IN_FLIGHT).unwrap() {
        talk.client(Packet::new(8, id).string("h"));
    }
    assert_eq!(talk.lost(), "there are more than 65536 requests without an answer");
    let mut talk = Talk::new();
    for id in 0..=u32::try_from(OPEN).unwrap() {
        talk.client(Packet::new(11, id).string("/x"));
        talk.server(Packet::new(102, id).string(id.to_be_bytes()));
    }
    assert_eq!(talk.lost(), "there are more than 1024 open files");
    let mut talk = Talk::new();
    for id in 0..600 {
        talk.client(Packet::new(11, id).string(vec![b'p'; 4096]));
    }
    assert_eq!(talk.lost(), "paths of more than 2097152 bytes are in use");
}

#[test]
fn what_is_not_known_is_remarked() {
    let mut talk = Talk::new();
    talk.client(Packet::new(200, 1).string("shred@example.org").string("/x"));
    talk.server(Packet::new(201, 1));
    talk.client(Packet::new(200, 2).string("other@example.org"));
    talk.tap.server(NOW, &Packet::status(2, 8, "unsupported"), &mut talk.facts);
    let remark = talk.tap.remark().unwrap();
    assert_eq!(remark, "requests that nobody knows were granted, 1 in all; the first: shred@example.org");
}
