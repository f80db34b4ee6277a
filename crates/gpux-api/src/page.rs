//! Lists that may be long, a page at a time: what is asked for, and what each list must be able to do so that a reader can put its
//! pages together.
//!
//! A page names the place where the next one begins rather than a number of entries to leave out: what comes and goes meanwhile
//! neither repeats an entry nor hides one that stays.

use crate::{job::JobList, market::OffersView, receipts::ReceiptsView};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The most entries of one page.
pub const MAX_PAGE: u32 = 1_000;

/// Which page of a list is wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PageQuery {
    /// At most so many entries; as many as one page may have when it is absent.
    #[schemars(range(min = 1, max = 1000))]
    pub limit: Option<u32>,
    /// Only what follows: `next` of the page before.
    #[schemars(length(max = 128))]
    pub after: Option<String>,
}

/// Which page of the jobs is wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct JobsQuery {
    /// At most so many jobs; as many as one page may have when it is absent. A page ends earlier where its jobs have many results.
    #[schemars(range(min = 1, max = 1000))]
    pub limit: Option<u32>,
    /// Only what follows: `next` of the page before.
    #[schemars(length(max = 128))]
    pub after: Option<String>,
    /// Only jobs that are not over.
    pub going_on: bool,
}

/// A list that comes in pages.
pub trait Paged {
    /// Where the next page begins; nothing on the last one.
    fn next(&self) -> Option<&str>;
    /// How many entries are here.
    fn count(&self) -> usize;
    /// Adds the page that follows this one.
    fn append(&mut self, following: Self);
}

macro_rules! paged {
    ($list:ty, $entries:ident) => {
        impl Paged for $list {
            fn next(&self) -> Option<&str> {
                self.next.as_deref()
            }

            fn count(&self) -> usize {
                self.$entries.len()
            }

            fn append(&mut self, following: Self) {
                self.$entries.extend(following.$entries);
                self.next = following.next;
            }
        }
    };
}

paged!(OffersView, offers);
paged!(JobList, jobs);
paged!(ReceiptsView, receipts);
