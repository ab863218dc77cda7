//! Whatever happens, in whatever order it is told: replaying all events gives the sessions that
//! were lived through, and a device never has two at once.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a network that tests play may panic")]

#[expect(dead_code, reason = "the tracker's own tests use the rest of it")]
mod network;

use network::{Network, minutes, secs};
use proptest::prelude::*;
use sojourn_domain::presence::{Evidence, SourceKind};

#[derive(Debug, Clone)]
enum Step {
    Scan { source: usize, devices: Vec<u8> },
    Fail { source: usize },
    Blind { source: usize },
    Late { source: usize, device: u8, secs_ago: i64 },
    Lease { device: u8, secs_ago: i64, minutes: i64 },
    Gone { source: usize, device: u8 },
    Policy { device: u8, grace_secs: Option<i64>, alert_down: bool, may_sleep: bool },
    Restart { secs: i64 },
    Wait { secs: i64 },
}

const KINDS: &[SourceKind] = &[SourceKind::Arp, SourceKind::Push, SourceKind::DhcpLeases, SourceKind::Import];

fn step() -> impl Strategy<Value = Step> {
    let source = 0..KINDS.len();
    let device = 1u8..4;
    prop_oneof![
        8 => (source.clone(), prop::collection::vec(device.clone(), 0..4))
            .prop_map(|(source, devices)| Step::Scan { source, devices }),
        1 => source.clone().prop_map(|source| Step::Fail { source }),
        1 => source.clone().prop_map(|source| Step::Blind { source }),
        4 => (source.clone(), device.clone(), 0i64..2000)
            .prop_map(|(source, device, secs_ago)| Step::Late { source, device, secs_ago }),
        1 => (device.clone(), 0i64..600, 0i64..60)
            .prop_map(|(device, secs_ago, minutes)| Step::Lease { device, secs_ago, minutes }),
        1 => (source, device.clone()).prop_map(|(source, device)| Step::Gone { source, device }),
        1 => (device, prop::option::of(1i64..600), any::<bool>(), any::<bool>()).prop_map(
            |(device, grace_secs, alert_down, may_sleep)| Step::Policy { device, grace_secs, alert_down, may_sleep }
        ),
        1 => (0i64..4000).prop_map(|secs| Step::Restart { secs }),
        1 => (0i64..600).prop_map(|secs| Step::Wait { secs }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn replaying_all_events_gives_the_sessions_that_were_lived(steps in prop::collection::vec(step(), 1..80)) {
        let mut net = Network::with(KINDS);
        for step in steps {
            match step {
                Step::Scan { source, devices } => net.scan(source, &devices),
                Step::Fail { source } => net.fail(source),
                Step::Blind { source } => net.blind(source),
                Step::Late { source, device, secs_ago } => {
                    net.say(source, device, Evidence::Seen { at: net.now() - secs(secs_ago) });
                }
                Step::Lease { device, secs_ago, minutes: length } => {
                    let at = net.now() - secs(secs_ago);
                    net.say(2, device, Evidence::Held { at, until: at + minutes(length) });
                }
                Step::Gone { source, device } => net.say(source, device, Evidence::Gone { at: net.now() }),
                Step::Policy { device, grace_secs, alert_down, may_sleep } => {
                    net.set_policy(device, grace_secs.map(secs), alert_down, may_sleep);
                }
                Step::Restart { secs: length } => net.restart_after(secs(length)),
                Step::Wait { secs: length } => {
                    net.advance(secs(length));
                    net.tick();
                }
            }
            net.assert_replay();
        }
    }
}
