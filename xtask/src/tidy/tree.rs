//! The checkout's files, as they lie: path and text. Checks look at nothing else, so that a test's few lines are as good as a
//! folder.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context as _;

/// What others made, or git's.
const PASSED_OVER: &[&str] = &[".git", "target", "node_modules"];

/// By path, with `/`. What is not UTF-8 is there without its text.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    texts: BTreeMap<String, String>,
}

impl Tree {
    pub(crate) fn read(root: &Path) -> anyhow::Result<Tree> {
        let mut tree = Tree::default();
        tree.read_folder(root, "").with_context(|| format!("reading {}", root.display()))?;
        Ok(tree)
    }

    fn read_folder(&mut self, folder: &Path, above: &str) -> anyhow::Result<()> {
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            let (name, kind) = (entry.file_name().to_string_lossy().into_owned(), entry.file_type()?);
            let path = format!("{above}{name}");
            if kind.is_dir() && !PASSED_OVER.contains(&name.as_str()) {
                self.read_folder(&entry.path(), &format!("{path}/"))?;
            } else if kind.is_file() {
                self.texts.insert(path, String::from_utf8(std::fs::read(entry.path())?).unwrap_or_default());
            }
        }
        Ok(())
    }

    #[cfg(test)]
    pub(crate) fn of(files: &[(&str, &str)]) -> Tree {
        Tree { texts: files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect() }
    }

    /// Path and text of files whose path ends so, in the order of paths.
    pub(crate) fn files(&self, end: &str) -> impl Iterator<Item = (&str, &str)> {
        self.texts.iter().filter(move |(path, _)| path.ends_with(end)).map(|(path, text)| (path.as_str(), text.as_str()))
    }

    pub(super) fn text(&self, path: &str) -> Option<&str> {
        self.texts.get(path).map(String::as_str)
    }

    /// Whether a file or a folder lies there.
    pub(super) fn has(&self, path: &str) -> bool {
        let below = format!("{}/", path.trim_end_matches('/'));
        self.texts.contains_key(path) || self.texts.range(below.clone()..).next().is_some_and(|(found, _)| found.starts_with(&below))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_there_when_something_lies_in_them() {
        let tree = Tree::of(&[("docs/decisions/0001-a.md", ""), ("docs.md", "")]);
        let has = |path: &str| tree.has(path);
        assert!(has("docs") && has("docs/") && has("docs/decisions") && has("docs.md"));
        assert!(!has("doc") && !has("docs/decisions/0001"));
    }
}
