//! Times and durations as people read them.

use spine_schemas::time::Micros;

/// A duration with two or three telling digits.
pub(crate) fn lasting(ms: u64) -> String {
    match ms {
        0..=999 => format!("{ms}ms"),
        1_000..=59_999 => format!("{}.{}s", ms / 1000, ms % 1000 / 100),
        60_000..=3_599_999 => format!("{}m{:02}s", ms / 60_000, ms % 60_000 / 1000),
        3_600_000..=86_399_999 => format!("{}h{:02}m", ms / 3_600_000, ms % 3_600_000 / 60_000),
        _ => format!("{}d{:02}h", ms / 86_400_000, ms % 86_400_000 / 3_600_000),
    }
}

/// How long ago, or how soon.
pub(crate) fn relative(at: Micros, now: Micros) -> String {
    if at > now {
        return format!("in {}", lasting(at.ms_since(now)));
    }
    format!("{} ago", lasting(now.ms_since(at)))
}

/// How long after another time, to the millisecond, for a timeline.
pub(crate) fn after(at: Micros, start: Micros) -> String {
    let ms = at.ms_since(start);
    match ms {
        0..=599_999 => format!("+{}.{:03}s", ms / 1000, ms % 1000),
        _ => format!("+{}", lasting(ms)),
    }
}

/// Date and time to the second, in UTC.
pub(crate) fn clock(at: Micros) -> String {
    let text = at.to_string();
    match text.get(..19) {
        Some(seconds) => format!("{} UTC", seconds.replace('T', " ")),
        None => text,
    }
}
