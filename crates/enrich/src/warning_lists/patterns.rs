//! Regular expressions, as MISP writes them: `/^noc@/i`, between two marks and with flags behind, or bare.
//!
//! They are written for PCRE, which looks around and back; ours does neither, so that no value takes long.

use regex::{RegexBuilder, RegexSet, RegexSetBuilder};

/// What one expression may take when it is compiled, in bytes.
const LARGEST: usize = 1 << 20;

/// What a list's expressions may take together.
const LARGEST_TOGETHER: usize = 64 << 20;

/// The expression in our syntax, if it can be said in it.
pub(super) fn parse(given: &str) -> Result<String, String> {
    let pattern = bare(given)?;
    RegexBuilder::new(&pattern).size_limit(LARGEST).build().map_err(|error| wrong(&error))?;
    Ok(pattern)
}

/// All of a list's, which have been parsed each.
pub(super) fn together(patterns: &[String]) -> Result<RegexSet, String> {
    let too_large = |_| format!("its expressions take more than {} MiB together", LARGEST_TOGETHER >> 20);
    RegexSetBuilder::new(patterns).size_limit(LARGEST_TOGETHER).build().map_err(too_large)
}

fn bare(given: &str) -> Result<String, String> {
    let Some(mark) = given.chars().next().filter(|mark| matches!(mark, '/' | '#' | '~' | '!' | '%')) else { return Ok(given.to_owned()) };
    let marked = given.strip_prefix(mark).and_then(|rest| rest.rsplit_once(mark));
    let Some((pattern, flags)) = marked.filter(|(_, flags)| flags.chars().all(char::is_alphabetic)) else { return Ok(given.to_owned()) };
    let mut ours = String::new();
    for flag in flags.chars() {
        match flag {
            'i' | 'm' | 's' | 'x' | 'U' => ours.push(flag),
            // To find all, to read UTF-8, to end at the end: what we do anyway, or what makes no difference to whether anything is found.
            'g' | 'u' | 'D' => (),
            _ => return Err(format!("the flag '{flag}' is unknown")),
        }
    }
    Ok(if ours.is_empty() { pattern.to_owned() } else { format!("(?{ours}){pattern}") })
}

/// Without the drawing of where in the expression it is.
fn wrong(error: &regex::Error) -> String {
    match error {
        regex::Error::CompiledTooBig(_) => "it is too large".to_owned(),
        _ => {
            let text = error.to_string();
            text.lines().last().map(|line| line.trim_start_matches("error: ").to_owned()).unwrap_or(text)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(given: &str, expected: &str) {
        assert_eq!(parse(given).unwrap_or_else(|wrong| wrong), expected, "{given}");
    }

    #[test]
    fn marks_and_flags_are_understood() {
        check("^a$", "^a$");
        check("/^a$/", "^a$");
        check(r"/^(noc|abuse)\@.*\..*$/i", r"(?i)^(noc|abuse)\@.*\..*$");
        check(r"/a\/b/ig", r"(?i)a\/b");
        check("#a/b#", "a/b");
        check("/a", "/a");
        check("/a/b.html", "/a/b.html");
        check("/a/e", "the flag 'e' is unknown");
        check(r"(a)\1", "backreferences are not supported");
        check("(?<!a)b", "look-around, including look-ahead and look-behind, is not supported");
    }
}
