//! Columns that line up, whatever is in them.

use super::color;

/// A column: its head, and whether its cells are statuses, numbers or plain text.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Column {
    /// Text, to the left.
    Text(&'static str),
    /// Numbers, to the right.
    Number(&'static str),
    /// A status, coloured.
    Status(&'static str),
}

impl Column {
    fn head(self) -> &'static str {
        match self {
            Self::Text(head) | Self::Number(head) | Self::Status(head) => head,
        }
    }

    fn cell(self, text: &str, width: usize) -> String {
        let gap = " ".repeat(width.saturating_sub(text.chars().count()));
        match self {
            Self::Text(_) => format!("{text}{gap}"),
            Self::Number(_) => format!("{gap}{text}"),
            Self::Status(_) => format!("{}{gap}", color::status(text)),
        }
    }
}

/// A table with a head; every row has a cell for each column.
pub(crate) fn table(columns: &[Column], rows: &[Vec<String>]) -> String {
    let width = |at: usize, column: &Column| {
        let cells = rows.iter().filter_map(|row| row.get(at)).map(|cell| cell.chars().count());
        cells.chain([column.head().chars().count()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> =
        columns.iter().enumerate().map(|(at, column)| width(at, column)).collect();
    let head = columns.iter().zip(&widths).map(|(column, &width)| match column {
        Column::Number(head) => format!("{head:>width$}"),
        Column::Text(head) | Column::Status(head) => format!("{head:<width$}"),
    });
    let mut text = line(head);
    for row in rows {
        let cells = row.iter().zip(columns).zip(&widths);
        text.push_str(&line(cells.map(|((cell, column), &width)| column.cell(cell, width))));
    }
    text
}

fn line(cells: impl Iterator<Item = String>) -> String {
    let cells: Vec<String> = cells.collect();
    format!("{}\n", cells.join("  ").trim_end())
}
