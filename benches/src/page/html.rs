//! The few pieces of HTML that a page is made of.

use std::fmt::Write as _;

use crate::{chart::escape, report::Table};

/// A name as the target of a link.
pub(super) fn id(name: &str) -> String {
    let plain = |it: char| if it.is_ascii_alphanumeric() { it.to_ascii_lowercase() } else { '-' };
    name.chars().map(plain).collect()
}

/// A table that can be scrolled sideways where the screen is narrow.
pub(super) fn table(table: &Table) -> String {
    let title = escape(&table.title);
    let mut html = format!(
        "<div class=\"table\" role=\"region\" aria-label=\"{title}\" tabindex=\"0\"><table>\n"
    );
    for (number, row) in table.rows.iter().enumerate() {
        html.push_str(if number == 0 { "<thead><tr>" } else { "<tr>" });
        for (column, cell) in row.iter().enumerate() {
            let cell = escape(cell);
            let _ = match (number, column) {
                (0, _) => write!(html, "<th scope=\"col\">{cell}</th>"),
                (_, 0) => write!(html, "<th scope=\"row\">{cell}</th>"),
                _ => write!(html, "<td>{cell}</td>"),
            };
        }
        html.push_str(if number == 0 { "</tr></thead>\n<tbody>\n" } else { "</tr>\n" });
    }
    html.push_str(if table.rows.is_empty() {
        "</table></div>\n"
    } else {
        "</tbody></table></div>\n"
    });
    html
}

/// A list of what is HTML already.
pub(super) fn items(items: &[String]) -> String {
    let mut html = "<ul>\n".to_owned();
    for item in items {
        let _ = writeln!(html, "<li>{item}</li>");
    }
    html.push_str("</ul>\n");
    html
}

/// A paragraph of Markdown with emphasis and code in it, and nothing else.
pub(super) fn inline(markdown: &str) -> String {
    let mut html = String::new();
    for (index, text) in escape(markdown).split('`').enumerate() {
        if index % 2 == 1 {
            let _ = write!(html, "<code>{text}</code>");
            continue;
        }
        for (index, text) in text.split("**").enumerate() {
            if index > 0 {
                html.push_str(if index % 2 == 1 { "<strong>" } else { "</strong>" });
            }
            for (index, text) in text.split('*').enumerate() {
                if index > 0 {
                    html.push_str(if index % 2 == 1 { "<em>" } else { "</em>" });
                }
                html.push_str(text);
            }
        }
    }
    html
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_escaped_and_heads_are_heads() {
        let mut data = Table::new("T: <t>");
        data.row(["a", "b"]);
        data.row(["<c>", "1 & 2"]);
        let html = table(&data);
        assert!(html.contains("<thead><tr><th scope=\"col\">a</th><th scope=\"col\">b</th></tr>"));
        assert!(html.contains("<th scope=\"row\">&lt;c&gt;</th><td>1 &amp; 2</td>"), "{html}");
        assert!(html.contains("aria-label=\"T: &lt;t&gt;\""), "{html}");
    }

    #[test]
    fn markdown_within_a_paragraph() {
        assert_eq!(
            inline("**A** is *not* `b * <c>`: \"d\""),
            "<strong>A</strong> is <em>not</em> <code>b * &lt;c&gt;</code>: &quot;d&quot;"
        );
    }
}
