//! Who acts, and what that allows.

use anyhow::{Result, bail};

/// Whoever asks for something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    pub name: String,
    pub role: Role,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// May look.
    Viewer,
    /// May look, and take deliveries in.
    Analyst,
    /// Runs the machine: whoever may start the program on the data folder may do everything with it anyway.
    Operator,
}

/// What can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    Query,
    Ingest,
    Reread,
    Maintain,
    /// Take data away for good.
    Erase,
    ChangeTables,
}

impl Action {
    pub const ALL: [Action; 6] = [Action::Query, Action::Ingest, Action::Reread, Action::Maintain, Action::Erase, Action::ChangeTables];

    pub fn name(self) -> &'static str {
        match self {
            Action::Query => "query",
            Action::Ingest => "ingest",
            Action::Reread => "reread",
            Action::Maintain => "maintain",
            Action::Erase => "erase",
            Action::ChangeTables => "change-tables",
        }
    }

    /// Whether it changes something, and so is written down.
    pub(crate) fn changes(self) -> bool {
        self != Action::Query
    }
}

impl Role {
    pub fn may(self, action: Action) -> bool {
        match self {
            Role::Viewer => matches!(action, Action::Query),
            Role::Analyst => matches!(action, Action::Query | Action::Ingest | Action::Reread),
            Role::Operator => true,
        }
    }
}

impl Actor {
    pub(crate) fn require(&self, action: Action) -> Result<()> {
        if self.role.may(action) {
            return Ok(());
        }
        bail!("{} may not do this: it needs the right to {}", self.name, action.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_role_may_what_the_table_says() {
        let table = [
            (Role::Viewer, "query"),
            (Role::Analyst, "query ingest reread"),
            (Role::Operator, "query ingest reread maintain erase change-tables"),
        ];
        for (role, expected) in table {
            let allowed: Vec<_> = Action::ALL.into_iter().filter(|action| role.may(*action)).map(Action::name).collect();
            assert_eq!(allowed.join(" "), expected, "{role:?}");
        }
    }
}
