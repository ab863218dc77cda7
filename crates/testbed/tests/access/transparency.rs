//! What works directly works through Sojourn: every case runs directly, through an installation on SQLite and local files,
//! and through one on PostgreSQL and an S3 server.
//!
//! The direct run proves the case; the runs through Sojourn then prove Sojourn.

use sojourn_testbed::{bed, ssh_client::Way, sshd::Sshd};

/// Against the target itself.
fn directly(case: fn(&Way, &Sshd)) {
    let Some(target) = Sshd::start() else { return };
    case(&target.way(), &target);
}

/// Through Sojourn, as a user who was given the connection.
fn through(case: fn(&Way, &Sshd)) {
    let Some(bed) = bed::shared() else { return };
    case(&bed.way(), &bed.target);
}

/// The same on PostgreSQL and an S3 server.
fn through_large(case: fn(&Way, &Sshd)) {
    let Some(bed) = bed::shared_large() else { return };
    case(&bed.way(), &bed.target);
}

macro_rules! transparent {
    ($($module:ident :: $case:ident),* $(,)?) => {
        mod direct {
            $(#[test]
            fn $case() {
                super::directly(crate::$module::$case);
            })*
        }
        mod through_sojourn {
            $(#[test]
            fn $case() {
                super::through(crate::$module::$case);
            })*
        }
        mod through_sojourn_on_postgresql_and_s3 {
            $(#[test]
            fn $case() {
                super::through_large(crate::$module::$case);
            })*
        }
    };
}

transparent! {
    cases::exit_codes_arrive,
    cases::standard_error_stays_apart,
    cases::bytes_arrive_as_they_are,
    cases::the_end_of_input_is_told,
    cases::a_program_that_says_no_more_still_ends,
    cases::a_command_may_end_without_reading,
    cases::output_after_the_shell_ended_arrives,
    cases::long_and_odd_commands_arrive,
    cases::the_environment_arrives,
    cases::terminals_are_terminals,
    cases::a_lost_client_hangs_up,
    cases::idle_connections_are_kept_alive,
    cases::much_arrives_whole_both_ways,
    cases::keys_are_renewed_on_the_way,
    cases::sftp_moves_files,
    cases::scp_copies,
    cases::scp_of_old_copies,
    cases::rsync_synchronises,
    cases::git_pushes_and_clones,
    forwarding::local_ports_are_forwarded,
    forwarding::a_refused_forward_harms_nothing,
    forwarding::standard_streams_are_forwarded,
    forwarding::remote_ports_are_forwarded,
    forwarding::remote_forwards_are_taken_back,
    forwarding::any_port_is_reached_by_socks,
    forwarding::sockets_are_forwarded,
    forwarding::the_agent_comes_along,
    multiplexing::twenty_sessions_share_a_flooded_connection,
    multiplexing::fifty_sessions_open_at_once,
    multiplexing::a_stalled_download_stops_nobody,
    multiplexing::a_stalled_upload_stops_nobody,
    multiplexing::a_stalled_forward_stops_nobody,
    libraries::paramiko_runs_commands,
    libraries::paramiko_holds_a_shell,
    libraries::paramiko_moves_files,
    libraries::paramiko_forwards,
    libraries::asyncssh_runs_commands,
    libraries::asyncssh_sees_signals,
    libraries::asyncssh_resizes_terminals,
    libraries::asyncssh_moves_files,
    libraries::asyncssh_forwards,
}
