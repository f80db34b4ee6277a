//! Pages of lists: what a caller may ask for. Used by the local API and by whoever owns a list; it knows no list.

use gpux_api::{ErrorBody, ErrorCode, MAX_PAGE, PageQuery};

/// A page that is wanted, within its bounds.
#[derive(Debug, Clone)]
pub(crate) struct Page {
    limit: usize,
    after: Option<String>,
}

impl Page {
    /// What a caller asks for.
    ///
    /// # Errors
    /// When that is no page, or a larger one than there are.
    pub(crate) fn of(query: PageQuery) -> Result<Self, ErrorBody> {
        let limit = query.limit.unwrap_or(MAX_PAGE);
        if !(1..=MAX_PAGE).contains(&limit) {
            let message = format!("reading a list: a page has 1 to {MAX_PAGE} entries, not {limit}");
            return Err(ErrorBody::new(ErrorCode::InvalidInput, message)
                .with_hint("ask for the next page with `after`, which is `next` of the page before"));
        }
        Ok(Self {
            limit: usize::try_from(limit).unwrap_or(usize::MAX),
            after: query.after,
        })
    }

    /// How many entries it has at most.
    pub(crate) const fn limit(&self) -> usize {
        self.limit
    }

    /// The place after which it begins, as its list writes places. None: at the first entry.
    ///
    /// # Errors
    /// When the list writes none so.
    pub(crate) fn place<T>(&self, read: impl FnOnce(&str) -> Option<T>) -> Result<Option<T>, ErrorBody> {
        self.after
            .as_deref()
            .map(|text| read(text).ok_or_else(unknown))
            .transpose()
    }

    /// Leaves the first entries of a page in their order, and says whether others follow. Only what stays is sorted.
    pub(crate) fn cut_to_first<T: Ord>(&self, entries: &mut Vec<T>) -> bool {
        let more = entries.len() > self.limit;
        if more {
            entries.select_nth_unstable(self.limit);
            entries.truncate(self.limit);
        }
        entries.sort_unstable();
        more
    }
}

/// A place that is none of the list's.
pub(crate) fn unknown() -> ErrorBody {
    let message = "reading a list: no page of it ended there";
    ErrorBody::new(ErrorCode::InvalidInput, message)
        .with_hint("`after` is `next` of the page before, as it was written")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(limit: Option<u32>, after: Option<&str>) -> Result<Page, ErrorBody> {
        let after = after.map(str::to_owned);
        Page::of(PageQuery { limit, after })
    }

    #[test]
    fn no_page_is_larger_than_the_largest_nor_empty() {
        assert_eq!(page(None, None).unwrap().limit(), 1_000);
        assert_eq!(page(Some(1_000), None).unwrap().limit(), 1_000);
        for refused in [0, 1_001, u32::MAX] {
            assert_eq!(page(Some(refused), None).unwrap_err().code, ErrorCode::InvalidInput);
        }
    }

    #[test]
    fn a_place_that_is_none_is_refused() {
        let number = |text: &str| text.parse::<u32>().ok();
        assert_eq!(page(None, None).unwrap().place(number).unwrap(), None);
        assert_eq!(page(None, Some("7")).unwrap().place(number).unwrap(), Some(7));
        let refused = page(None, Some("seven")).unwrap().place(number);
        assert_eq!(refused.unwrap_err().code, ErrorCode::InvalidInput);
    }

    #[test]
    fn the_first_of_many_stay_in_their_order() {
        let mut entries: Vec<u32> = (0..50).map(|number| number * 7 % 50).collect();
        assert!(page(Some(3), None).unwrap().cut_to_first(&mut entries));
        assert_eq!(entries, [0, 1, 2]);
        assert!(!page(Some(3), None).unwrap().cut_to_first(&mut entries));
    }
}
