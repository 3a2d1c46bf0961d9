//! Networks of IP addresses, as of trusted proxies.

use std::net::{IpAddr, Ipv6Addr};

/// Networks by an address of theirs and how many of its first bits count.
#[derive(Debug, Clone, Default)]
pub(crate) struct Networks(Vec<(IpAddr, u8)>);

impl Networks {
    pub(crate) fn push(&mut self, network: IpAddr, prefix_bits: u8) {
        self.0.push((network, prefix_bits));
    }

    /// Whether the address is in one of them. An IPv4 address is one however it is written.
    pub(crate) fn hold(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|(network, bits)| is_within(address, *network, *bits))
    }
}

fn is_within(address: IpAddr, network: IpAddr, bits: u8) -> bool {
    let bits = u32::from(bits);
    match (address, network) {
        (IpAddr::V4(address), IpAddr::V4(network)) => {
            let mask = u32::MAX.checked_shl(32_u32.saturating_sub(bits)).unwrap_or(0);
            address.to_bits() & mask == network.to_bits() & mask
        }
        (IpAddr::V6(address), IpAddr::V6(network)) => {
            let mask = u128::MAX.checked_shl(128_u32.saturating_sub(bits)).unwrap_or(0);
            address.to_bits() & mask == network.to_bits() & mask
        }
        _ => false,
    }
}

/// What one party has at the least: an address of IPv4, and 64 bits of addresses of IPv6 (RFC 6177, section 2).
pub(crate) fn party(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_hold_their_addresses() {
        for (address, network, bits, expected) in [
            ("10.1.2.3", "10.0.0.0", 8, true),
            ("::ffff:10.1.2.3", "10.0.0.0", 8, true),
            ("11.1.2.3", "10.0.0.0", 8, false),
            ("1.2.3.4", "0.0.0.0", 0, true),
            ("1.2.3.4", "1.2.3.4", 32, true),
            ("::1", "::1", 128, true),
            ("fd00::1", "fd00::", 8, true),
            ("::1", "0.0.0.0", 0, false),
        ] {
            let mut networks = Networks::default();
            networks.push("192.0.2.1".parse().unwrap(), 32);
            networks.push(network.parse().unwrap(), bits);
            let holds = networks.hold(address.parse().unwrap());
            assert_eq!(holds, expected, "{address} {network}/{bits}");
        }
    }
}
