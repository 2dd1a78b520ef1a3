//! Lists that are given out page by page, the newest first. The place where one goes on is the time and the id of the last
//! item, so that what is added or deleted meanwhile shifts nothing.

use crate::GatewayError;
use serde::Deserialize;
use sophon_store::Part;
use sophon_types::Timestamp;
use std::fmt::Display;
use std::str::FromStr;

/// Items of one answer.
pub(crate) const USUAL: u32 = 100;
/// The most that one answer may have.
pub(crate) const MOST: u32 = 500;

/// What a paged list can be narrowed by.
pub(crate) const QUERIES: &[(&str, &str)] = &[AFTER, LIMIT];
pub(crate) const AFTER: (&str, &str) = ("after", "Continue behind this: `next` of the page before.");
pub(crate) const LIMIT: (&str, &str) = ("limit", "At most so many; 100, at most 500.");

/// Which page.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PageQuery {
    /// `next` of the page before.
    pub(crate) after: Option<String>,
    /// At most so many; 100 where nothing is said, at most 500.
    pub(crate) limit: Option<u32>,
}

impl PageQuery {
    /// What the store is asked for: one more than are shown, so that it is known whether there are more.
    ///
    /// # Errors
    /// [`GatewayError::ParameterInvalid`] where `after` came from no answer.
    pub(crate) fn part<Id: FromStr>(&self) -> Result<Part<Id>, GatewayError> {
        let wrong = || GatewayError::ParameterInvalid {
            place: "after",
            message: "not what an answer of this list had as `next`".into(),
        };
        let place = |text: &str| {
            let (at, id) = text.split_once(',')?;
            Some((Timestamp::parse(at).ok()?, id.parse().ok()?))
        };
        let after = self.after.as_deref().map(|text| place(text).ok_or_else(wrong)).transpose()?;
        Ok(Part { after, limit: self.shown() + 1 })
    }

    /// The page of what the store gave, and where the next one begins.
    pub(crate) fn cut<T, Id: Display>(
        &self,
        mut items: Vec<T>,
        place: impl Fn(&T) -> (Timestamp, Id),
    ) -> (Vec<T>, Option<String>) {
        let shown = self.shown() as usize;
        let more = items.len() > shown;
        items.truncate(shown);
        let next = items.last().filter(|_| more).map(|last| {
            let (at, id) = place(last);
            format!("{at},{id}")
        });
        (items, next)
    }

    fn shown(&self) -> u32 {
        self.limit.unwrap_or(USUAL).clamp(1, MOST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sophon_types::GrantId;

    #[test]
    fn one_page_goes_on_where_the_one_before_ended() {
        let query = PageQuery { after: None, limit: Some(2) };
        assert_eq!(query.part::<GrantId>().unwrap(), Part { after: None, limit: 3 });
        let place =
            |n: &u8| (Timestamp::from_micros(1_769_850_000_000_000 - i64::from(*n)), GrantId::from_bytes([*n; 16]));
        let (items, next) = query.cut(vec![1, 2, 3], place);
        assert_eq!(items, [1, 2]);
        let query = PageQuery { after: next, limit: Some(9999) };
        assert_eq!(query.part().unwrap(), Part { after: Some(place(&2)), limit: MOST + 1 });
        assert_eq!(query.cut(vec![3], place), (vec![3], None));
        for odd in ["", "2026-01-01T00:00:00Z", ",", "yesterday,gra_0", "2026-01-01T00:00:00Z,call_1"] {
            let query = PageQuery { after: Some(odd.into()), limit: None };
            assert!(query.part::<GrantId>().is_err(), "{odd}");
        }
    }
}
