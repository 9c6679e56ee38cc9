//! Files are called by what is in them.

use super::{Check, Failure, Tree, failure};

pub(super) const CHECK: Check = Check { name: "layout", about: "files and folders are called by what is in them", run };

/// What ends up in a file of such a name has no subject, and every room comes to know it.
const DRAWERS: &[&str] = &["util", "utils", "common", "helper", "helpers", "misc"];

fn run(tree: &Tree) -> Vec<Failure> {
    tree.files("").filter_map(|(path, _)| Some(failure(path, 1, wrong(path)?))).collect()
}

fn wrong(path: &str) -> Option<String> {
    if path.ends_with("/mod.rs") {
        return Some("a module is `foo.rs` beside its folder `foo/`, not `mod.rs`: move the file".to_owned());
    }
    let drawer = path.split('/').map(|part| part.split('.').next().unwrap_or(part)).find(|stem| DRAWERS.contains(stem))?;
    Some(format!("\"{drawer}\" says nothing of what is in it: move each thing to where its subject is"))
}

#[cfg(test)]
mod tests {
    use super::super::check;
    use super::*;

    #[test]
    fn names_say_what_is_inside() {
        let files = [("crates/a/src/b/mod.rs", ""), ("crates/a/src/utils.rs", ""), ("docs/misc/c.md", ""), ("crates/a/src/commons.rs", "")];
        let expected = [
            "crates/a/src/b/mod.rs:1: a module is `foo.rs` beside its folder `foo/`, not `mod.rs`: move the file",
            "crates/a/src/utils.rs:1: \"utils\" says nothing of what is in it: move each thing to where its subject is",
            "docs/misc/c.md:1: \"misc\" says nothing of what is in it: move each thing to where its subject is",
        ];
        check(&CHECK, &files, &expected);
    }
}
