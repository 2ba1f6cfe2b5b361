//! Tables without lines, as shells like them, no wider than the terminal that shows them.
//!
//! Where a row does not fit, free texts are cut first, then columns are left out: those that say in another way what
//! stands elsewhere, and by whom it was asked for, then from the end. Who asks for `-o wide`, or reads with a program, gets all of it.

use super::Style;
use comfy_table::{Cell, Table, presets};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Columns of free text, which may be cut.
const FREE: [&str; 5] = ["DESCRIPTION", "REASON", "LABELS", "CONTROLLER", "FILE"];
/// Columns that go first: an age says the same, and why something waits says more than whose it is.
const FIRST_OUT: [&str; 4] = ["SUBMITTED", "STORED", "SINCE", "BY"];
/// A free text is not cut below this width.
const LEAST: usize = 16;
/// What stands between two columns.
const GAP: usize = 2;

/// Nothing at all where there are no rows.
pub(crate) fn table(style: &Style, header: &[&str], mut rows: Vec<Vec<Cell>>) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let mut header = header.to_vec();
    if let Some(width) = style.width.filter(|_| !style.wide) {
        fit(width, &mut header, &mut rows);
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header).add_rows(rows);
    match style.colour {
        true => table.enforce_styling(),
        false => table.force_no_tty(),
    };
    for column in table.column_iter_mut() {
        column.set_padding((0, GAP.try_into().unwrap_or(1)));
    }
    table.trim_fmt() + "\n"
}

fn fit(width: usize, header: &mut Vec<&str>, rows: &mut [Vec<Cell>]) {
    let excess = |widths: &[usize]| {
        let total = widths.iter().sum::<usize>() + GAP * widths.len().saturating_sub(1);
        total.saturating_sub(width)
    };
    loop {
        let mut least = widths(header, rows);
        for (least, name) in least.iter_mut().zip(&*header) {
            if FREE.contains(name) {
                *least = (*least).min(LEAST);
            }
        }
        if excess(&least) == 0 {
            break;
        }
        let first = FIRST_OUT.iter().find_map(|out| header.iter().position(|name| name == out));
        // A column without a name belongs to a sheet, and the first one says what the row is about.
        let last = header.len() - 1;
        let out = first.or(Some(last)).filter(|&at| at > 0 && !header[at].is_empty());
        let Some(out) = out else { break };
        header.remove(out);
        for row in rows.iter_mut() {
            row.remove(out);
        }
    }
    for at in (0..header.len()).rev().filter(|&at| FREE.contains(&header[at])) {
        let widths = widths(header, rows);
        let target = widths[at].saturating_sub(excess(&widths)).max(LEAST);
        for row in rows.iter_mut() {
            let text = row[at].content();
            if text.width() > target {
                row[at] = Cell::new(cut(&text, target));
            }
        }
    }
}

fn widths(header: &[&str], rows: &[Vec<Cell>]) -> Vec<usize> {
    let of = |at: usize| rows.iter().map(move |row| row[at].content().width()).max();
    (0..header.len()).map(|at| of(at).unwrap_or(0).max(header[at].width())).collect()
}

/// The beginning of `text` that fits into `width`, with a sign that it is one.
fn cut(text: &str, width: usize) -> String {
    let mut used = 1; // the sign
    let fits = |sign: &char| {
        used += sign.width().unwrap_or(0);
        used <= width
    };
    text.chars().take_while(fits).collect::<String>().trim_end().to_owned() + "…"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(width: usize) -> String {
        let style = Style { width: Some(width), ..Style::fixed() };
        let header = ["NAME", "DESCRIPTION", "STORED", "BY"];
        let row = |cells: [&str; 4]| cells.map(Cell::new).to_vec();
        let rows = vec![
            row(["greet", "Says 你好 to whoever is named, politely", "2026-11-25", "ada@x"]),
            row(["backup", "Copies", "2026-11-25", "eve@x"]),
        ];
        table(&style, &header, rows)
    }

    #[test]
    fn a_table_that_fits_is_whole() {
        insta::assert_snapshot!(shown(70), @r"
        NAME    DESCRIPTION                              STORED      BY
        greet   Says 你好 to whoever is named, politely  2026-11-25  ada@x
        backup  Copies                                   2026-11-25  eve@x
        ");
    }

    #[test]
    fn free_texts_are_cut_before_columns_are_left_out() {
        insta::assert_snapshot!(shown(50), @r"
        NAME    DESCRIPTION              STORED      BY
        greet   Says 你好 to whoever i…  2026-11-25  ada@x
        backup  Copies                   2026-11-25  eve@x
        ");
        insta::assert_snapshot!(shown(40), @r"
        NAME    DESCRIPTION               BY
        greet   Says 你好 to whoever is…  ada@x
        backup  Copies                    eve@x
        ");
        insta::assert_snapshot!(shown(30), @r"
        NAME    DESCRIPTION
        greet   Says 你好 to whoever…
        backup  Copies
        ");
        insta::assert_snapshot!(shown(5), @r"
        NAME
        greet
        backup
        ");
    }

    #[test]
    fn no_row_is_wider_than_the_terminal_where_its_name_fits() {
        for width in 7..90 {
            let lines = shown(width);
            assert!(lines.lines().all(|line| line.width() <= width), "{width}\n{lines}");
        }
    }

    #[test]
    fn who_asks_for_all_columns_gets_them() {
        let style = Style { width: Some(10), wide: true, ..Style::fixed() };
        let rows = vec![["greet", "Says hello politely"].map(Cell::new).to_vec()];
        assert!(table(&style, &["NAME", "DESCRIPTION"], rows).contains("politely"));
    }
}
