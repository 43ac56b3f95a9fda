//! Where in a source file something is said.

/// The line (from 1) inside function `function` that assigns to one of `needles`, or else the function's own; 1 where there is no such
/// function. Of several functions of that name, the one nearest to line `near`.
pub(super) fn line_of(text: &str, function: &str, needles: &[String], near: usize) -> usize {
    let head = format!("fn {function}");
    let lines: Vec<&str> = text.lines().collect();
    let starts = (0..lines.len()).filter(|line| {
        let after = lines[*line]
            .find(&head)
            .map(|at| &lines[*line][at + head.len()..]);
        after.is_some_and(|after| after.starts_with(['(', '<']))
    });
    let Some(start) = starts.min_by_key(|line| line.abs_diff(near)) else {
        return 1;
    };
    let end = (start + 1..lines.len())
        .find(|line| lines[*line].trim_start().starts_with("fn "))
        .unwrap_or(lines.len());
    let assigns = |line: &str| {
        let targets = needles.iter().filter(|needle| !needle.is_empty());
        let mut after = targets.filter_map(|needle| Some(line.split_once(needle.as_str())?.1));
        after.any(|after| {
            let after = after.trim_start();
            after.starts_with("+=")
                || after.starts_with("-=")
                || (after.starts_with('=') && !after.starts_with("=="))
        })
    };
    let said = (start..end).find(|line| assigns(lines[*line]));
    said.unwrap_or(start) + 1
}

#[cfg(test)]
mod tests {
    use super::line_of;

    const TEXT: &str = "fn forward(a: f32) {\n  x\n}\nfn backward<F>(b: F) {\n  d_x[0] = d_x[1];\n  d_x[1] += 2;\n}\n\nfn other() {\n  d_x[2]\n}\n";

    #[test]
    fn finds_lines_in_functions() {
        let line = |function, needle: &str| line_of(TEXT, function, &[needle.to_owned()], 1);
        assert_eq!(line("backward", "d_x[1]"), 6);
        assert_eq!(line("backward", "d_x[2]"), 4);
        assert_eq!(line("forward", "x"), 1);
        assert_eq!(line("back", "x"), 1);
        assert_eq!(line_of("fn a() {}\nfn b() {}\nfn a() {}", "a", &[], 3), 3);
    }
}
