//! Which addresses no request may go to, in whatever spelling, and how far an address
//! reaches.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// How far an address reaches. A name that was bound to one reach does not silently get
/// another: that is how a rebinding attack looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reach {
    /// This host.
    Loopback,
    /// A private network.
    Private,
    Public,
}

impl Reach {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Loopback => "an address of this host",
            Self::Private => "a private address",
            Self::Public => "a public address",
        }
    }
}

/// Why a request to this address is always refused: the metadata services of clouds,
/// link-local and multicast addresses, and "this network". `None`: it may be asked.
pub fn refused(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(address) => refused_v4(address),
        IpAddr::V6(address) => refused_v6(address)
            .or_else(|| inner(address).into_iter().flatten().find_map(refused_v4)),
    }
}

/// How far it reaches; an address that carries another reaches as far as that one.
pub fn reach(address: IpAddr) -> Reach {
    match address {
        IpAddr::V4(address) => reach_v4(address),
        IpAddr::V6(address) if address.is_loopback() => Reach::Loopback,
        IpAddr::V6(address) => {
            let carried = inner(address).into_iter().flatten().map(reach_v4).min();
            carried.unwrap_or(if address.segments()[0] & 0xfe00 == 0xfc00 {
                Reach::Private
            } else {
                Reach::Public
            })
        }
    }
}

fn refused_v4(address: Ipv4Addr) -> Option<&'static str> {
    let octets = address.octets();
    if octets[0] == 0 {
        return Some("an address of \"this network\" (0.0.0.0/8)");
    }
    if address.is_link_local() {
        return Some("a link-local address, where clouds serve credentials (169.254.0.0/16)");
    }
    // Alibaba, Oracle, Azure.
    if matches!(octets, [100, 100, 100, 200] | [192, 0, 0, 192] | [168, 63, 129, 16]) {
        return Some("the metadata service of a cloud");
    }
    if address.is_multicast() || address.is_broadcast() {
        return Some("a multicast or broadcast address");
    }
    None
}

fn refused_v6(address: Ipv6Addr) -> Option<&'static str> {
    let segments = address.segments();
    if address.is_unspecified() {
        return Some("the unspecified address");
    }
    // fe80::/10, and fec0::/10, which it once shared the idea with.
    if segments[0] & 0xff80 == 0xfe80 {
        return Some("a link-local address");
    }
    if address.is_multicast() {
        return Some("a multicast address");
    }
    // Amazon, Google.
    let metadata: [Ipv6Addr; 2] = [
        Ipv6Addr::new(0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x0254),
        Ipv6Addr::new(0xfd20, 0x00ce, 0, 0, 0, 0, 0, 0x0254),
    ];
    metadata.contains(&address).then_some("the metadata service of a cloud")
}

fn reach_v4(address: Ipv4Addr) -> Reach {
    let octets = address.octets();
    if address.is_loopback() {
        Reach::Loopback
    } else if address.is_private() || (octets[0] == 100 && octets[1] & 0xc0 == 64) {
        // The second are the shared addresses of carriers and overlay networks.
        Reach::Private
    } else {
        Reach::Public
    }
}

/// The IPv4 addresses that an IPv6 address carries, for all ways there are to carry one.
fn inner(address: Ipv6Addr) -> [Option<Ipv4Addr>; 2] {
    let octets = address.octets();
    let segments = address.segments();
    let at = |from: usize| {
        Ipv4Addr::new(octets[from], octets[from + 1], octets[from + 2], octets[from + 3])
    };
    let last = at(12);
    // Mapped (::ffff:a.b.c.d), translated (::ffff:0:a.b.c.d), compatible (::a.b.c.d).
    if segments[..4] == [0; 4] && !address.is_loopback() {
        let carries = matches!((segments[4], segments[5]), (0, 0xffff | 0) | (0xffff, 0));
        if carries {
            return [Some(last), None];
        }
    }
    // NAT64, the well-known prefix and the one for local use.
    if segments[0] == 0x0064 && segments[1] == 0xff9b {
        return [Some(last), None];
    }
    // 6to4
    if segments[0] == 0x2002 {
        return [Some(at(2)), None];
    }
    // Teredo: the server, and the client with its bits turned round.
    if segments[0] == 0x2001 && segments[1] == 0 {
        return [Some(at(4)), Some(Ipv4Addr::from_bits(!last.to_bits()))];
    }
    // ISATAP
    if matches!((segments[4], segments[5]), (0 | 0x0200, 0x5efe)) {
        return [Some(last), None];
    }
    [None, None]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn what_is_always_refused_is_refused_in_every_spelling() {
        for text in [
            "0.0.0.0",
            "0.1.2.3",
            "169.254.169.254",
            "169.254.170.2",
            "100.100.100.200",
            "192.0.0.192",
            "168.63.129.16",
            "224.0.0.1",
            "239.255.255.250",
            "255.255.255.255",
            "::",
            "fe80::1",
            "febf::1",
            "fec0::1",
            "ff02::1",
            "fd00:ec2::254",
            "fd20:ce::254",
            // Mapped, compatible, translated.
            "::ffff:169.254.169.254",
            "::ffff:a9fe:a9fe",
            "::169.254.169.254",
            "::ffff:0:169.254.169.254",
            "::ffff:0.0.0.0",
            "::0.0.0.2",
            // NAT64, 6to4, Teredo, ISATAP.
            "64:ff9b::169.254.169.254",
            "64:ff9b:1::a9fe:a9fe",
            "2002:a9fe:a9fe::1",
            "2001:0:a9fe:a9fe::1",
            "2001:0:102:304::5601:5601",
            "2001:db8::5efe:169.254.169.254",
            "2001:db8::200:5efe:a9fe:a9fe",
        ] {
            assert!(refused(ip(text)).is_some(), "{text} is not refused");
        }
        for text in [
            "127.0.0.1",
            "10.0.0.1",
            "192.168.1.1",
            "93.184.216.34",
            "169.253.255.255",
            "100.100.100.201",
            "::1",
            "fd00::1",
            "2001:db8::1",
            "::ffff:127.0.0.1",
            "64:ff9b::10.0.0.1",
            "2002:0a00:0001::1",
        ] {
            assert_eq!(refused(ip(text)), None, "{text}");
        }
    }

    #[test]
    fn an_address_reaches_as_far_as_the_one_it_carries() {
        for (text, expected) in [
            ("127.0.0.1", Reach::Loopback),
            ("127.255.0.3", Reach::Loopback),
            ("::1", Reach::Loopback),
            ("::ffff:127.0.0.1", Reach::Loopback),
            ("::127.0.0.1", Reach::Loopback),
            ("64:ff9b::7f00:1", Reach::Loopback),
            ("2002:7f00:1::", Reach::Loopback),
            ("10.1.2.3", Reach::Private),
            ("172.31.0.1", Reach::Private),
            ("192.168.0.1", Reach::Private),
            ("100.64.0.1", Reach::Private),
            ("fd12::1", Reach::Private),
            ("::ffff:10.0.0.1", Reach::Private),
            ("172.32.0.1", Reach::Public),
            ("8.8.8.8", Reach::Public),
            ("2606:4700::1", Reach::Public),
            ("::ffff:8.8.8.8", Reach::Public),
        ] {
            assert_eq!(reach(ip(text)), expected, "{text}");
        }
    }
}
