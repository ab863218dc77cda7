//! Who made a device, from the IEEE's registries (MA-L, MA-M, MA-S).

use sojourn_domain::mac::MacAddr;

/// The maker that the address is registered to. Addresses made by software (the U/L bit is set:
/// randomised ones, most virtual machines) belong to nobody.
pub fn of(mac: MacAddr) -> Option<&'static str> {
    if mac.is_randomised() || !mac.is_device() {
        return None;
    }
    let digits: String = mac.to_string().chars().filter(|&c| c != ':').collect();
    let name = oui_data::lookup(&digits)?.organization().trim();
    // The registry lists blocks whose holder paid not to be named.
    (!name.is_empty() && !name.eq_ignore_ascii_case("private")).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_registered_prefix_wins() {
        let vendor = |text: &str| of(text.parse().unwrap());
        assert_eq!(vendor("50:A6:D8:00:00:01"), Some("Apple, Inc."));
        // A 28 bit block inside a 24 bit one that the registry keeps for itself.
        assert_eq!(vendor("B8:4C:87:40:00:01"), Some("Blum Novotest GmbH"));
    }

    #[test]
    fn made_up_addresses_have_no_maker() {
        assert_eq!(of("02:00:00:00:00:01".parse().unwrap()), None);
        assert_eq!(
            of("DA:A1:19:00:00:01".parse().unwrap()),
            None,
            "a company id, used for randomised addresses"
        );
        assert_eq!(of("FF:FF:FF:FF:FF:FF".parse().unwrap()), None);
    }
}
