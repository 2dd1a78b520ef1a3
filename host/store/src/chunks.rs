//! Statements over many rows at once, in few sizes, so that each stays prepared. A size that is not full has rows of nulls
//! at its end, which the statement passes over.
//!
//! The statements say `OR FAIL`: what a script has done when it fails is undone as a whole (by its savepoint or its
//! transaction), so no statement has to be able to undo itself. SQLite keeps a journal of 64 KiB for each that has.

use crate::engine::Script;

/// The most rows of one statement.
const MOST: usize = 128;

/// One statement over rows of values, which reads them as the table `change` with the columns `column1`, `column2`, …
/// (so named by SQLite and by PostgreSQL alike). Rows whose `column1` is null are none.
pub(crate) struct Chunks {
    before: &'static str,
    columns: usize,
    after: &'static str,
}

impl Chunks {
    /// The statement that has `(VALUES …)` between `before` and `after`.
    pub(crate) const fn new(before: &'static str, columns: usize, after: &'static str) -> Self {
        Self { before, columns, after }
    }

    /// Adds statements for all of `rows` to a script; `bind` binds the columns of one.
    pub(crate) fn add<T>(&self, script: &mut Script, rows: Vec<T>, bind: impl Fn(&mut Script, T)) {
        let mut rows = rows.into_iter();
        while rows.len() > 0 {
            let count = rows.len().min(MOST);
            let size = count.next_power_of_two();
            script.statement(&self.sql(size));
            for row in rows.by_ref().take(count) {
                bind(script, row);
            }
            for _ in 0..(size - count) * self.columns {
                script.bind(None::<i64>);
            }
        }
    }

    fn sql(&self, rows: usize) -> String {
        let row = format!("({})", vec!["?"; self.columns].join(", "));
        format!("{}(VALUES {}){}", self.before, vec![row.as_str(); rows].join(", "), self.after)
    }
}
