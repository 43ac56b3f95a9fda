//! Tables of text.

/// Rows under a heading, as wide as they need to be, each on a line that ends in a newline; columns of numbers are to the right.
pub(super) fn table(columns: &[&str], rows: Vec<Vec<String>>) -> String {
    let is_number = |cell: &String| cell == "–" || cell.parse::<f64>().is_ok();
    let right = |column: usize| rows.iter().all(|row| is_number(&row[column]));
    let right: Vec<bool> = (0..columns.len()).map(right).collect();
    let heading = columns.iter().map(|name| (*name).to_owned()).collect();
    let lines: Vec<Vec<String>> = std::iter::once(heading).chain(rows).collect();
    let width = |column: usize| {
        let widths = lines.iter().map(|line| line[column].chars().count());
        widths.max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns.len()).map(width).collect();
    let mut text = String::new();
    for line in &lines {
        let cells = line.iter().zip(&widths).zip(&right);
        let cells = cells.map(|((cell, &width), right)| match right {
            false => format!("{cell:width$}"),
            true => format!("{cell:>width$}"),
        });
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}
