//! The malware of the quarter: which families, how many new machines a day, and how that changes over the weeks.

use crate::calendar;
use crate::machines::Spread;
use crate::spells::{self, Spell};

#[derive(Debug)]
pub(crate) struct Family {
    /// As Shadowserver writes it.
    pub(crate) name: &'static str,
    /// New machines a day at a curve of 100, in hundredths.
    pub(crate) births: u64,
    /// How long a machine keeps it, in days.
    pub(crate) lasts: u64,
    pub(crate) curve: Curve,
    pub(crate) spread: Spread,
    /// Where it calls home.
    pub(crate) port: &'static str,
    pub(crate) path: &'static str,
}

/// How many machines are new, in percent of what is usual.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Curve {
    Steady,
    Rising,
    Falling,
    /// Three weeks, from this one on; weeks count from 1.
    Outbreak(i32),
    /// None from the takedown's day on.
    Takedown,
}

/// The Wednesday of the quarter's seventh week.
const TAKEDOWN: &str = "2024-02-14";
/// How long machines go on calling after it, in days.
const AFTER_TAKEDOWN: u64 = 11;

impl Curve {
    pub(crate) fn percent(self, day: i32) -> u64 {
        let since = day - calendar::day("2024-01-01");
        let along = since.clamp(0, 90) as u64;
        match self {
            Curve::Steady => 100,
            Curve::Rising => 30 + along * 220 / 90,
            Curve::Falling => 190 - along * 160 / 90,
            Curve::Outbreak(week) if (0..21).contains(&(since - (week - 1) * 7)) => 700,
            Curve::Outbreak(_) => 25,
            Curve::Takedown if day >= calendar::day(TAKEDOWN) => 0,
            Curve::Takedown => 100,
        }
    }
}

const PEOPLE: Spread = Spread { homes: 62, mobile: 16, offices: 17, hosting: 1 };
const OFFICES: Spread = Spread { homes: 28, mobile: 4, offices: 60, hosting: 4 };
const DEVICES: Spread = Spread { homes: 80, mobile: 4, offices: 12, hosting: 0 };
const TELEPHONES: Spread = Spread { homes: 34, mobile: 62, offices: 1, hosting: 0 };
const SERVERS: Spread = Spread { homes: 4, mobile: 0, offices: 26, hosting: 62 };

pub(crate) const FAMILIES: &[Family] = &[
    family("qakbot", 720, 16, Curve::Takedown, OFFICES, "443", "/t5"),
    family("andromeda", 400, 21, Curve::Falling, PEOPLE, "80", "/gate.php"),
    family("conficker", 200, 40, Curve::Falling, OFFICES, "80", "/search?q="),
    family("necurs", 260, 18, Curve::Steady, PEOPLE, "80", "/locator.php"),
    family("ramnit", 240, 20, Curve::Steady, PEOPLE, "443", "/stat.php"),
    family("socgholish", 430, 7, Curve::Rising, OFFICES, "443", "/pixel.png"),
    family("lumma", 500, 6, Curve::Rising, PEOPLE, "80", "/c2sock"),
    family("adload", 190, 15, Curve::Steady, PEOPLE, "80", "/a/rep"),
    family("android.hummer", 190, 22, Curve::Falling, TELEPHONES, "80", "/api/list"),
    family("android.vo1d", 180, 30, Curve::Rising, DEVICES, "80", "/api/check"),
    family("flubot", 310, 5, Curve::Outbreak(4), TELEPHONES, "80", "/poll.php"),
    family("sality", 80, 45, Curve::Falling, OFFICES, "80", "/logos.gif"),
    family("virut", 120, 35, Curve::Steady, PEOPLE, "80", "/view"),
    family("qsnatch", 120, 40, Curve::Steady, DEVICES, "80", "/qnap_firmware.xml"),
    family("mirai", 180, 9, Curve::Falling, DEVICES, "80", "/config"),
    family("zeus", 100, 20, Curve::Steady, OFFICES, "80", "/config.bin"),
    family("gozi", 100, 12, Curve::Outbreak(9), OFFICES, "443", "/images/"),
    family("tinba", 70, 18, Curve::Falling, PEOPLE, "80", "/EiDQjNbWEQ/"),
    family("nymaim", 70, 16, Curve::Steady, PEOPLE, "80", "/index.php"),
    family("vpnfilter", 70, 50, Curve::Steady, DEVICES, "443", "/update/test"),
    family("m0yv", 70, 14, Curve::Rising, OFFICES, "80", "/d"),
    family("pykspa", 60, 25, Curve::Steady, PEOPLE, "80", "/?"),
    family("tofsee", 50, 15, Curve::Steady, SERVERS, "443", "/feed"),
    family("stealrat", 50, 30, Curve::Steady, SERVERS, "80", "/wp-post.php"),
    family("emotet", 130, 8, Curve::Outbreak(11), OFFICES, "8080", "/wp-includes/"),
    family("dorkbot", 50, 25, Curve::Falling, PEOPLE, "80", "/ngr"),
    family("matsnu", 40, 20, Curve::Steady, PEOPLE, "80", "/mail/"),
    family("xcodeghost", 40, 40, Curve::Falling, TELEPHONES, "80", "/"),
    family("wannacrypt", 20, 45, Curve::Steady, OFFICES, "80", "/"),
    family("locky", 20, 10, Curve::Steady, OFFICES, "80", "/checkupdate"),
];

const fn family(
    name: &'static str,
    births: u64,
    lasts: u64,
    curve: Curve,
    spread: Spread,
    port: &'static str,
    path: &'static str,
) -> Family {
    Family { name, births, lasts, curve, spread, port, path }
}

impl Family {
    /// When a machine is rid of it: after a takedown sooner than it would have been, but not at once.
    pub(crate) fn ends(&self, spell: &Spell) -> i32 {
        let takedown = calendar::day(TAKEDOWN);
        match self.curve {
            Curve::Takedown if spell.ends > takedown => {
                spell.ends.min(takedown + spell.chance("after the takedown").days(AFTER_TAKEDOWN, spells::LONGEST))
            }
            _ => spell.ends,
        }
    }
}

/// What infected machines say they are.
pub(crate) const AGENTS: &[&str] = &[
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Safari/537.36",
    "Mozilla/5.0 (Windows NT 6.1; WOW64; Trident/7.0; rv:11.0) like Gecko",
    "Mozilla/4.0 (compatible; MSIE 7.0; Windows NT 6.1; Trident/4.0; SLCC2; .NET CLR 2.0.50727)",
    "Mozilla/4.0 (compatible; MSIE 8.0; Windows NT 5.1)",
    "Mozilla/4.0",
    "Mozilla/5.0 (Windows NT 10.0; rv:109.0) Gecko/20100101 Firefox/115.0",
    "Dalvik/2.1.0 (Linux; U; Android 9; EX-TAB 7 Build/PPR1.180610.011)",
    "okhttp/3.12.1",
    "curl/7.64.1",
    "Wget/1.12 (linux-gnu)",
    "",
];
