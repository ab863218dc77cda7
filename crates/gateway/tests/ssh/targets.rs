//! Targets without a front: what the browser's terminals use.

use sojourn_domain::access::EndReason;
use sojourn_gateway::protocols::{
    Credential, HostKeyRule, Secret, TerminalRequest, dial::Rules, open_ssh_terminal,
};
use sojourn_gateway::session::ends::{TargetEvent, TargetInput, TerminalSize};
use tokio::runtime::Runtime;

use crate::house::Lab;

#[test]
fn passwords_and_terminals_work_without_a_front() {
    let Some(lab) = Lab::new() else { return };
    let account = lab.sshd.account();
    let (mut target, rules) = (lab.house.target.clone(), Rules::default());
    target.host_key = HostKeyRule::Pinned(lab.sshd.host_key());
    let size = TerminalSize { cols: 91, rows: 17, width_px: 0, height_px: 0 };
    let request = || TerminalRequest { term: "xterm".to_owned(), size, env: Vec::new() };
    Runtime::new().unwrap().block_on(async {
        let password = Credential::Password(Secret::new(account.password.as_str()));
        let (mut end, _) = open_ssh_terminal(&target, &password, &rules, request()).await.unwrap();
        end.carrier.detach();
        end.input.send(TargetInput::Data("stty size; exit 3\n".into())).await.unwrap();
        let (mut shown, mut last) = (String::new(), None);
        while let Some(event) = end.events.recv().await {
            match event {
                TargetEvent::Output(bytes) => shown.push_str(&String::from_utf8_lossy(&bytes)),
                other => last = Some(other),
            }
        }
        assert!(shown.contains("17 91"), "{shown}");
        assert_eq!(last, Some(TargetEvent::Ended { reason: EndReason::Closed, detail: String::new() }));

        let wrong = Credential::Password(Secret::new("wrong"));
        let error = open_ssh_terminal(&target, &wrong, &rules, request()).await.unwrap_err();
        assert_eq!(error.reason, EndReason::LoginRefused);
        target.host_key = HostKeyRule::Unknown;
        let error = open_ssh_terminal(&target, &password, &rules, request()).await.unwrap_err();
        assert_eq!(error.reason, EndReason::HostKey);
    });
}
