//! The warning lists that are in force, as a table.

use std::sync::Arc;

use anyhow::Result;
use arrow::array::{ArrayRef, RecordBatch, StringArray, UInt64Array};
use enrich::Part;
use enrich::warning_lists::WarningList;
use event::time;

use crate::actor::{Action, Actor};
use crate::desk::Desk;

impl Desk {
    /// The warning lists in force on a day, one a row.
    pub fn warning_lists(&self, actor: &Actor, day: i32) -> Result<RecordBatch> {
        actor.require(Action::Query)?;
        let lists: Vec<(&Part, &WarningList)> =
            self.tables.on(day).parts().iter().filter_map(|part| Some((part.as_ref(), part.warning_list()?))).collect();
        let text = |value: &dyn Fn(&Part, &WarningList) -> String| -> ArrayRef {
            Arc::new(lists.iter().map(|(part, list)| Some(value(part, list))).collect::<StringArray>())
        };
        let number = |value: &dyn Fn(&WarningList) -> usize| -> ArrayRef {
            Arc::new(UInt64Array::from_iter_values(lists.iter().map(|(_, list)| value(list) as u64)))
        };
        let columns: [(&str, ArrayRef); 6] = [
            ("list", text(&|_, list| list.name.clone())),
            ("table", text(&|part, _| part.name.clone())),
            ("since", text(&|part, _| time::day_name(part.day))),
            ("matching", text(&|_, list| list.matching.name().to_owned())),
            ("entries", number(&WarningList::len)),
            ("unusable", number(&|list| list.unusable_count)),
        ];
        Ok(RecordBatch::try_from_iter(columns)?)
    }
}
