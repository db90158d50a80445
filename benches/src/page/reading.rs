//! What the figures mean, from the words of `docs/benchmarks.md`: one source for both.

use super::html::inline;

/// Between these are the words, a list.
const BEGIN: &str = "## How to read this";
const END: &str = "{tables}";

/// The words on one scenario, as HTML: the item that begins with its name alone in bold.
pub(super) fn of(markdown: &str, name: &str) -> Option<String> {
    let mut items = items(markdown).into_iter();
    items.find(|it| scenario(it).is_some_and(|it| it == name)).map(|it| inline(&it))
}

/// The words on all of them. What is said of gateways that the benchmark starts is not said of one
/// that runs elsewhere.
pub(super) fn general(markdown: &str, elsewhere: bool) -> Vec<String> {
    let items = items(markdown).into_iter().filter(|it| scenario(it).is_none());
    let started_here = |it: &String| HERE.iter().any(|start| it.starts_with(start));
    let words = elsewhere.then(|| ELSEWHERE.to_owned());
    let items = items.filter(|it| !(elsewhere && started_here(it))).chain(words);
    items.map(|it| inline(&it)).collect()
}

/// How the items begin that hold only for gateways that the benchmark starts.
const HERE: [&str; 4] = [
    "Each measurement has a gateway process of its own",
    "**Gateway CPU**",
    "The gateway carries its links on one thread",
    "Except for loss",
];

const ELSEWHERE: &str = "**The gateway was running already**, with settings and limits of its own. What it costs in \
    processor time is not known here, and the network on the way to it is in every figure. If it runs \
    on this machine, it is among the \"other processes\" of the warnings. Rounds are interleaved, every \
    second one in reverse. A figure is the median of the rounds; ± is half the distance between the \
    lowest and the highest.";

/// Each item of the list in one line.
fn items(markdown: &str) -> Vec<String> {
    let (_, words) = markdown.split_once(BEGIN).unwrap_or_default();
    let (words, _) = words.split_once(END).unwrap_or((words, ""));
    let items = words.split("\n- ").skip(1);
    items.map(|it| it.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

/// The one word in bold with which an item on a scenario begins.
fn scenario(item: &str) -> Option<&str> {
    let (bold, _) = item.strip_prefix("**")?.split_once("**")?;
    (!bold.contains(' ')).then_some(bold)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::FRAME;

    const WORDS: &str = "# T\n\n- not this\n\n## How to read this\n\n- **All of it.** Is\n  so.\n\
                         - **REST** posts `x`.\n- Plain.\n\n{tables}\n- **Not** this\n";

    #[test]
    fn words_on_a_scenario_begin_with_its_name() {
        assert_eq!(of(WORDS, "REST").unwrap(), "<strong>REST</strong> posts <code>x</code>.");
        assert_eq!(of(WORDS, "Not"), None);
        assert_eq!(general(WORDS, false), ["<strong>All of it.</strong> Is so.", "Plain."]);
    }

    #[test]
    fn scenarios_have_words_of_their_own() {
        for name in ["Fan-out", "REST", "Flood", "Loss", "Reconnect", "Crash", "Resumes", "Memory"]
        {
            let words = of(FRAME, name).unwrap_or_else(|| panic!("no words on {name}"));
            for (open, close) in
                [("<strong>", "</strong>"), ("<em>", "</em>"), ("<code>", "</code>")]
            {
                assert_eq!(words.matches(open).count(), words.matches(close).count(), "{words}");
            }
        }
        assert!(general(FRAME, false).len() >= 3);
        // Each of those is there to be left out, and one is there instead.
        let elsewhere = general(FRAME, true);
        assert_eq!(elsewhere.len(), general(FRAME, false).len() - HERE.len() + 1);
        assert!(!elsewhere.iter().any(|it| it.contains("serve --dev") || it.contains("loopback")));
    }
}
