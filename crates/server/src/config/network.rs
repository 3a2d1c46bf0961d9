//! Networks of IP addresses, as in `trusted_proxies`.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// A network such as `10.0.0.0/8` (RFC 4632 section 3.1), or one address.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Network {
    address: IpAddr,
    prefix_bits: u8,
}

impl Network {
    /// Its first address.
    pub(crate) fn address(&self) -> IpAddr {
        self.address
    }

    /// How many bits of an address say that it is in here.
    pub(crate) fn prefix_bits(&self) -> u8 {
        self.prefix_bits
    }
}

/// The bits that count: the first `prefix_bits` of `bits`.
fn mask(prefix_bits: u8, bits: u8) -> u128 {
    let all = u128::MAX >> (128 - u32::from(bits));
    all & all.checked_shl(u32::from(bits - prefix_bits)).unwrap_or(0)
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let meant = || format!("{text:?} is no network; write one such as \"10.0.0.0/8\" or an address");
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| meant())?;
        let bits = if address.is_ipv4() { 32 } else { 128 };
        let prefix_bits = match prefix {
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => digits.parse().map_err(|_| meant())?,
            Some(_) => return Err(meant()),
            None => bits,
        };
        if prefix_bits > bits {
            return Err(format!(
                "{text:?} is no network; after `/` stands a number from 0 to {bits}"
            ));
        }
        let first = match address {
            IpAddr::V4(address) => Ipv4Addr::from_bits(address.to_bits() & mask(prefix_bits, 32) as u32).into(),
            IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & mask(prefix_bits, 128)).into(),
        };
        let network = Self {
            address: first,
            prefix_bits,
        };
        if first == address {
            Ok(network)
        } else {
            Err(format!(
                "{text:?} is an address within a network; the network is \"{network}\""
            ))
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix_bits)
    }
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_has_a_first_address_and_a_prefix() {
        for (text, address, prefix_bits) in [
            ("10.0.0.0/8", "10.0.0.0", 8),
            ("0.0.0.0/0", "0.0.0.0", 0),
            ("192.168.1.128/25", "192.168.1.128", 25),
            ("127.0.0.1", "127.0.0.1", 32),
            ("fd00::/8", "fd00::", 8),
            ("::1", "::1", 128),
        ] {
            let network: Network = text.parse().unwrap();
            assert_eq!(
                (network.address(), network.prefix_bits()),
                (address.parse().unwrap(), prefix_bits)
            );
        }
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for text in [
            "",
            "x",
            "10.0.0.0/",
            "10.0.0.0/33",
            "10.0.0.0/+8",
            "10.0.0.0/8/8",
            "::/129",
            "10.0.0/8",
            "/8",
            "::/-1",
        ] {
            assert!(text.parse::<Network>().is_err(), "{text}");
        }
        let error = "10.0.0.1/8".parse::<Network>().unwrap_err();
        assert!(error.contains("the network is \"10.0.0.0/8\""), "{error}");
    }
}
