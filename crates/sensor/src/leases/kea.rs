//! Kea's memfile: a CSV journal, `kea-leases4.csv` or `kea-leases6.csv`, to which each change of a
//! lease is appended. Columns are found by the header's names, which differ between versions.
//! A comma inside a value is written `&#x2c`.

use sojourn_domain::time::{Elapsed, Timestamp};

use super::{Book, Lease, ip, lines, mac, seconds, text};
use crate::hostnames;

/// A lifetime without end (RFC 2131 section 3.3).
const FOREVER: i64 = 0xffff_ffff;

#[derive(Default)]
struct Columns {
    address: Option<usize>,
    mac: Option<usize>,
    lifetime: Option<usize>,
    expire: Option<usize>,
    hostname: Option<usize>,
    state: Option<usize>,
    kind: Option<usize>,
}

pub(super) fn read(bytes: &[u8], book: &mut Book) {
    book.cut = !bytes.is_empty() && !bytes.ends_with(b"\n");
    let whole = bytes.iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1);
    let mut columns = Columns::default();
    for line in lines(&bytes[..whole]) {
        let line = line.trim_ascii_end();
        if line.is_empty() {
            continue;
        }
        if line.starts_with(b"address,") {
            columns = header(line);
        } else if row(&columns, line, book).is_none() {
            book.skipped += 1;
        }
    }
}

fn header(line: &[u8]) -> Columns {
    let at = |name: &[u8]| line.split(|&byte| byte == b',').position(|column| column == name);
    Columns {
        address: at(b"address"),
        mac: at(b"hwaddr"),
        lifetime: at(b"valid_lifetime"),
        expire: at(b"expire"),
        hostname: at(b"hostname"),
        state: at(b"state"),
        kind: at(b"lease_type"),
    }
}

fn row(columns: &Columns, line: &[u8], book: &mut Book) -> Option<()> {
    let field = |column: Option<usize>| column.and_then(|at| line.split(|&byte| byte == b',').nth(at));
    // DHCPv6: 2 is a delegated prefix, which is nobody's address.
    if field(columns.kind) == Some(b"2") {
        return Some(());
    }
    let ip = ip(field(columns.address)?)?;
    let lifetime: i64 = text(field(columns.lifetime)?)?.parse().ok()?;
    let expire = seconds(field(columns.expire)?)?;
    // 0 assigned, 1 declined, 2 expired and reclaimed, 3 released, 4 registered. Older versions
    // have no such column. A lifetime of zero deletes the lease.
    let active = lifetime != 0 && matches!(field(columns.state), None | Some(b"0" | b"4" | b""));
    let Some(mac) = field(columns.mac).and_then(mac) else {
        book.end(ip, Some(expire));
        // A row that deletes needs no client.
        return (!active).then_some(());
    };
    let at = expire - Elapsed::from_secs(lifetime);
    let hostname = field(columns.hostname).and_then(|name| {
        let name = text(name)?.replace("&#x2c", ",");
        hostnames::clean(name.as_bytes())
    });
    let until = if lifetime >= FOREVER { Timestamp::MAX } else { expire };
    book.enter(Lease { mac, ip, hostname, active, at: Some(at), until });
    Some(())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::leases::{LeaseFormat, parse};

    pub(crate) const SAMPLE: &str = "\
address,hwaddr,client_id,valid_lifetime,expire,subnet_id,fqdn_fwd,fqdn_rev,hostname,state,user_context,pool_id
10.0.0.10,aa:bb:cc:dd:ee:10,01:aa,3600,1735722000,1,0,0,tv.lan,0,,0
10.0.0.11,aa:bb:cc:dd:ee:11,,3600,1735722000,1,0,0,,0,,0
10.0.0.10,aa:bb:cc:dd:ee:10,01:aa,3600,1735723800,1,0,0,tv.lan,0,,0
10.0.0.11,aa:bb:cc:dd:ee:11,,3600,1735722000,1,0,0,,3,,0
10.0.0.12,,,3600,1735722000,1,0,0,,1,,0
10.0.0.13,aa:bb:cc:dd:ee:13,,4294967295,6030689295,1,0,0,a&#x2cb,0,,0
";

    #[test]
    fn the_last_row_of_an_address_wins() {
        let read = parse(None, SAMPLE.as_bytes()).unwrap();
        assert_eq!((read.format, read.skipped, read.whole), (Some(LeaseFormat::Kea), 0, true));
        let [tv, released, forever] = read.leases.as_slice() else { panic!("{read:?}") };
        assert_eq!(tv.until, Timestamp::from_secs(1_735_723_800));
        assert_eq!(tv.at, Some(Timestamp::from_secs(1_735_720_200)), "the last transaction");
        assert_eq!((tv.active, tv.hostname.as_deref()), (true, Some("tv.lan")));
        assert!(!released.active);
        assert_eq!((forever.until, forever.hostname.as_deref()), (Timestamp::MAX, Some("a,b")));
        assert_eq!(forever.at, Some(Timestamp::from_secs(1_735_722_000)));
    }

    #[test]
    fn dhcpv6_rows_name_the_device_in_another_column() {
        let text = "address,duid,valid_lifetime,expire,subnet_id,pref_lifetime,lease_type,iaid,prefix_len,fqdn_fwd,\
                    fqdn_rev,hostname,hwaddr,state,user_context,hwtype,hwaddr_source,pool_id\n\
                    2001:db8::10,00:01,3600,1735722000,1,3000,0,1,128,0,0,tv,aa:bb:cc:dd:ee:10,0,,1,2,0\n\
                    2001:db8:1::,00:01,3600,1735722000,1,3000,2,1,56,0,0,tv,aa:bb:cc:dd:ee:10,0,,1,2,0\n\
                    2001:db8::11,00:02,3600,1735722000,1,3000,0,1,128,0,0,,,0,,,,0\n";
        let read = parse(None, text.as_bytes()).unwrap();
        assert_eq!((read.leases.len(), read.skipped), (1, 1));
        assert_eq!(read.leases[0].ip.to_string(), "2001:db8::10");
    }

    #[test]
    fn a_row_that_deletes_ends_the_lease() {
        let text = format!("{SAMPLE}10.0.0.10,aa:bb:cc:dd:ee:10,01:aa,0,1735720300,1,0,0,tv.lan,0,,0\n");
        let read = parse(None, text.as_bytes()).unwrap();
        assert!(!read.leases[0].active);
        assert_eq!(read.leases[0].until, Timestamp::from_secs(1_735_720_300));
    }

    #[test]
    fn a_half_written_row_is_not_read() {
        let cut = SAMPLE.len() - 20;
        let read = parse(None, &SAMPLE.as_bytes()[..cut]).unwrap();
        assert_eq!((read.leases.len(), read.whole), (2, false));
    }
}
