//! `dnsmasq.leases`: one lease a line, the running ones only.
//!
//! `EXPIRY MAC ADDRESS NAME CLIENT-ID`, the expiry in seconds since 1970 or 0 for never. After a
//! line `duid …` come DHCPv6 leases, which name no MAC address. dnsmasq rewrites the file in
//! place, so that a reader may meet it half written.

use sojourn_domain::time::Timestamp;

use super::{Book, Lease, ip, lines, mac, seconds};
use crate::hostnames;

pub(super) fn read(bytes: &[u8], book: &mut Book) {
    book.cut = !bytes.is_empty() && !bytes.ends_with(b"\n");
    let whole = bytes.iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1);
    for line in lines(&bytes[..whole]) {
        let mut words = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
        let Some(expiry) = words.next() else { continue };
        if expiry == b"duid" {
            continue;
        }
        let lease = (|| {
            let until = match seconds(expiry)? {
                never if never == Timestamp::from_secs(0) => Timestamp::MAX,
                until => until,
            };
            let (device, address) = (words.next()?, words.next()?);
            // Other hardware than Ethernet is written with its number before: `06-aa:bb:…`.
            let (mac, ip) = (mac(device)?, ip(address)?);
            let hostname = words.next().and_then(hostnames::clean);
            Some(Lease { mac, ip, hostname, active: true, at: None, until })
        })();
        match lease {
            Some(lease) => book.enter(lease),
            None => book.skipped += 1,
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::leases::{LeaseFormat, parse};

    pub(crate) const SAMPLE: &str = "\
1735693200 aa:bb:cc:dd:ee:01 192.168.1.10 phone 01:aa:bb:cc:dd:ee:01
0 00:11:22:33:44:55 192.168.1.11 * *
1735693300 06-aa:bb:cc:dd:ee:02 192.168.1.12 odd *
duid 00:01:00:01:2a:bb:cc:dd:aa:bb:cc:dd:ee:01
1735693200 12345 fd00::10 phone 00:01:00:01:2a
";

    #[test]
    fn a_file_as_dnsmasq_writes_it() {
        let leases = parse(None, SAMPLE.as_bytes()).unwrap();
        assert_eq!((leases.format, leases.skipped, leases.whole), (Some(LeaseFormat::Dnsmasq), 2, true));
        let [phone, printer] = leases.leases.as_slice() else { panic!("{leases:?}") };
        assert_eq!(
            (phone.mac.to_string().as_str(), phone.hostname.as_deref()),
            ("AA:BB:CC:DD:EE:01", Some("phone"))
        );
        assert_eq!((phone.until, phone.at, phone.active), (Timestamp::from_secs(1_735_693_200), None, true));
        assert_eq!((printer.until, printer.hostname.as_deref()), (Timestamp::MAX, None));
    }

    #[test]
    fn a_half_written_line_is_not_read_as_a_shorter_one() {
        // Cut inside "192.168.1.10".
        let leases = parse(Some(LeaseFormat::Dnsmasq), &SAMPLE.as_bytes()[..40]).unwrap();
        assert_eq!((leases.leases.len(), leases.whole), (0, false));
    }
}
