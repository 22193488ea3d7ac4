//! Small values inside a line: text that fits, money, ids.

/// The beginning of a text on one line, with a mark where it was cut.
pub(crate) fn short(text: &str, limit: usize) -> String {
    let mut characters = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    let shown: String = characters.by_ref().take(limit).collect();
    if characters.next().is_some() { format!("{shown}…") } else { shown }
}

/// Micro-units of money as units, without zeros that say nothing.
pub(crate) fn money(micros: u64) -> String {
    let text = format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000);
    let kept = text.trim_end_matches('0').len();
    // Two decimals are always shown, as in every price.
    let least = text.find('.').map_or(kept, |point| point + 3);
    text[..kept.max(least)].to_owned()
}

/// The step's text form without the occurrence that nearly all steps have.
pub(crate) fn step(text: &str) -> &str {
    text.strip_suffix("#1").unwrap_or(text)
}

/// A count with its noun.
pub(crate) fn count(number: u64, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{plural}")
}
