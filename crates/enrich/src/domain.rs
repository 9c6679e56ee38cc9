//! What a host name ends in, by the public suffix list (<https://publicsuffix.org>) that the program was built with.
//!
//! Names come in A-labels and lower case, as events have them.

/// The suffix under which names are registered: `com` of `www.example.com`, of two labels or more where the list
/// says so. A name whose end is on no list has its last label.
pub fn public_suffix(host: &str) -> Option<&str> {
    psl::suffix_str(host)
}

/// The name that somebody registered: `example.com` of `www.example.com`, nothing of `com`.
pub fn registrable_domain(host: &str) -> Option<&str> {
    psl::domain_str(host)
}

/// The last label: `com` of `www.example.com`.
pub fn top_level_domain(host: &str) -> Option<&str> {
    host.rsplit('.').next().filter(|label| !label.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(host: &str, suffix: &str, registrable: &str, top: &str) {
        let found = [public_suffix(host), registrable_domain(host), top_level_domain(host)];
        assert_eq!(found.map(|part| part.unwrap_or("-")), [suffix, registrable, top], "{host}");
    }

    #[test]
    fn a_name_taken_apart() {
        //    host                             suffix              registrable           top
        check("www.example.com", "com", "example.com", "com");
        check("www.example.com.hk", "com.hk", "example.com.hk", "hk");
        check("example.com.hk", "com.hk", "example.com.hk", "hk");
        check("com.hk", "com.hk", "-", "hk");
        check("a.b.user.github.io", "github.io", "user.github.io", "io");
        check("www.xn--mxtq1m.xn--j6w193g", "xn--mxtq1m.xn--j6w193g", "www.xn--mxtq1m.xn--j6w193g", "xn--j6w193g");
        check("example.xn--j6w193g", "xn--j6w193g", "example.xn--j6w193g", "xn--j6w193g");
        check("host.example.invalid", "invalid", "example.invalid", "invalid");
    }
}
