//! What a feed says about its rows beyond their columns: the sort of problem, what a delivery is, what the
//! provider allows. Small closed vocabularies, each spelled once.

use std::fmt;

/// Makes an enum whose values have one name each, in tables, at rest and on screen.
macro_rules! vocabulary {
    ($(#[$attribute:meta])* $name:ident: $what:literal { $($(#[$row:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$attribute])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$row])* $variant,)* }

        impl $name {
            pub const ALL: &[$name] = &[$($name::$variant),*];

            pub fn name(self) -> &'static str {
                match self { $($name::$variant => $word,)* }
            }
        }

        impl std::str::FromStr for $name {
            type Err = String;

            fn from_str(word: &str) -> Result<$name, String> {
                $name::ALL.iter().copied().find(|value| value.name() == word).ok_or_else(|| {
                    let known: Vec<_> = $name::ALL.iter().map(|value| value.name()).collect();
                    format!("\"{word}\" is no {}; there are: {}", $what, known.join(", "))
                })
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str(self.name())
            }
        }
    };
}

vocabulary! {
    /// What sort of problem a row speaks of; it decides the key of a finding and who must look.
    Kind: "kind" {
        /// An infected machine.
        Bot = "bot",
        /// A command-and-control server.
        C2 = "c2",
        /// A page, a URL, a web site: phishing, malware, defacement.
        Site = "site",
        /// A service that should not be reachable, or is vulnerable.
        Exposed = "exposed",
        /// The target of an attack.
        Victim = "victim",
        /// A server that amplifies others' attacks.
        Resolver = "resolver",
        /// An account whose secret is known to others.
        Account = "account",
        /// What is there, with nothing wrong about it.
        Inventory = "inventory",
        /// A network or name on somebody's list.
        Listing = "listing",
    }
}

vocabulary! {
    /// What a delivery is, and so what absence from the next one means.
    Delivers: "way to deliver" {
        /// Things seen, with their time. Absence is weak evidence.
        Observations = "observations",
        /// All that is bad now. Dropping out is evidence.
        List = "list",
        /// Only what is new. Absence means nothing.
        Additions = "additions",
        /// Differences between full deliveries.
        Delta = "delta",
        /// Something to look things up in, never a finding.
        Context = "context",
    }
}

vocabulary! {
    /// What the provider's terms allow to be done with rows.
    May: "permission" {
        NotifyOwner = "notify-owner",
        Count = "count",
        NameSource = "name-source",
        /// Publish or share single rows.
        Rows = "rows",
    }
}

vocabulary! {
    Severity: "severity" {
        Critical = "critical",
        High = "high",
        Medium = "medium",
        Low = "low",
        Info = "info",
    }
}
