//! The market as its users see it: books, plans and advice.

#[cfg(test)]
mod advice;
#[cfg(test)]
mod books;
#[cfg(test)]
mod crowds;
#[cfg(test)]
mod gangs;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod index;
#[cfg(test)]
mod market;
#[cfg(test)]
mod naive;
#[cfg(test)]
mod plans;
#[cfg(test)]
mod prices;
#[cfg(test)]
mod rules;
#[cfg(test)]
mod speed;
