//! The market as its users see it: books, plans and advice.

#[cfg(test)]
mod advice;
#[cfg(test)]
mod books;
#[cfg(test)]
mod market;
#[cfg(test)]
mod plans;
#[cfg(test)]
mod prices;
#[cfg(test)]
mod rules;
#[cfg(test)]
mod speed;
